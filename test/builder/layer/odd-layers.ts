import { layerTar } from '../../support/docker-archive.ts';
import { busyboxRoot } from '../../support/images.ts';
import type { ArchiveImage } from '../archive/archives.ts';
import { makeTar, type MadeEntry } from '../tar/make-tar.ts';

const long = (text: string): string => `${text}-${'x'.repeat(120)}`;

/** cap_net_raw+ep as the kernel has it, revision 2 (include/uapi/linux/capability.h). */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex').toString('latin1');

/** Everything that a layer can have in it, as far as dockerd takes it. */
const odd: readonly MadeEntry[] = [
  { name: './', type: '5', mode: 0o700, uid: 7 },
  { name: 'odd/', type: '5', mode: 0o751, uid: 3_000_000, gid: 3_000_001, pax: { mtime: '1600000000.123456789' } },
  { name: 'odd/file', content: 'file\n', mode: 0o640, pax: { mtime: '1500000000.000000001' } },
  { name: 'odd/hard', type: '1', linkName: 'odd/file', mode: 0o640, pax: { mtime: '1500000000.000000001' } },
  { name: 'odd/setuid', content: '#!/bin/sh\n', mode: 0o4755 },
  { name: 'odd/setgid', content: 'x', mode: 0o2755, uid: 33, gid: 33 },
  { name: 'odd/sticky/', type: '5', mode: 0o1777 },
  {
    name: 'odd/symlink',
    type: '2',
    linkName: '../../../etc/passwd',
    mode: 0o777,
    uid: 5,
    gid: 6,
    pax: { mtime: '1400000000.5' },
  },
  { name: 'odd/hard-to-symlink', type: '1', linkName: 'odd/symlink', uid: 5, gid: 6 },
  { name: 'odd/absolute', type: '2', linkName: '/odd/real', mode: 0o777 },
  { name: 'odd/real/', type: '5' },
  { name: 'odd/absolute/through-a-symlink', content: 'inside\n' },
  { name: '/odd/../odd/./absolute-name', content: 'absolute\n' },
  { name: 'odd/character', type: '3', deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
  { name: 'odd/large-numbers', type: '3', deviceMajor: 300, deviceMinor: 70_000, mode: 0o600 },
  { name: 'odd/block', type: '4', deviceMajor: 7, deviceMinor: 1, mode: 0o660 },
  { name: 'odd/fifo', type: '6', mode: 0o600 },
  { name: 'odd/capable', content: 'capable\n', mode: 0o755, pax: { 'SCHILY.xattr.security.capability': CAPABILITY } },
  {
    name: 'odd/user-xattr',
    content: 'x',
    pax: { 'SCHILY.xattr.user.note': 'a note', 'SCHILY.xattr.user.long': 'y'.repeat(900), 'SCHILY.xattr.user.a': 'b' },
  },
  { name: 'odd/before-1970', content: 'old', pax: { mtime: '-86400.5' } },
  { name: 'odd/empty' },
  { name: 'odd/implied/parents/file', content: 'implied\n' },
  { name: 'odd/not-utf8-\xff\xfe', content: 'bytes\n' },
  { name: `odd/${long('pax')}`, content: 'long\n' },
  { name: 'odd/long-target', type: '2', linkName: long('target'), mode: 0o777 },
];

const gnu: readonly MadeEntry[] = [
  { name: 'gnu/', type: '5', gnu: true, mtimeSec: 1_000_000_000 },
  { name: `gnu/${long('gnu')}`, content: 'long\n', gnu: true, uid: 4_000_000, gid: 4_000_000 },
  { name: 'gnu/long-target', type: '2', linkName: long('target'), gnu: true, mode: 0o777 },
  { name: 'gnu/far', content: 'far', gnu: true, mtimeSec: 2 ** 33 + 5 },
  { name: 'turning/', type: '5' },
  { name: 'turning/inner', content: 'inner\n' },
  { name: 'covered/', type: '5' },
  { name: 'covered/old', content: 'old\n' },
  { name: 'gone', content: 'gone\n' },
];

const changes: readonly MadeEntry[] = [
  { name: '.wh.gone', uid: 12, gid: 13 },
  { name: 'covered/', type: '5', mode: 0o700 },
  { name: 'covered/.wh..wh..opq' },
  { name: 'covered/new', content: 'new\n' },
  { name: 'turning', content: 'a file now\n' },
];

const back: readonly MadeEntry[] = [
  { name: 'turning/', type: '5' },
  { name: 'turning/again', content: 'a folder again\n' },
];

const empty = makeTar([]);

/** Images of which each part is there for one rule of unpacking; `odd:1` and `small:1` share their base. */
export async function oddImages(): Promise<readonly ArchiveImage[]> {
  const base = await layerTar(await busyboxRoot());
  return [
    {
      tags: ['odd:1', 'registry.example:5000/team/odd:two'],
      layers: [
        base,
        makeTar(odd),
        makeTar(gnu),
        empty,
        makeTar(changes),
        makeTar(back),
        empty,
        makeTar([{ name: 'last', content: 'last\n' }], Buffer.alloc(0)),
      ],
    },
    {
      tags: ['small:1'],
      layers: [
        base,
        makeTar([{ name: 'small', content: Buffer.alloc(3 * 1024 * 1024 + 17, 'small') }], Buffer.alloc(10_240)),
      ],
    },
  ];
}

/** Prints what a container of `odd:1` sees of all that. */
export const observeOdd =
  'echo $(cat /odd/real/through-a-symlink) $(ls /gone 2>&1 | wc -l) [$(ls /covered)] [$(ls /turning)] $(cat /last) $(cat /odd/absolute-name)';
export const observedOdd = 'inside 1 [new] [again] last absolute';
