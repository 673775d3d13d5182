import { paxBody, type MadeEntry } from '../tar/make-tar.ts';

const LONG = 'x'.repeat(120);

/** `ustar` and what follows it are of later tars. */
function v7(block: Buffer): void {
  block.fill(0, 257, 512);
}

/** The header of GNU tar before Go 1.8, which put a prefix where GNU has times. */
function gnuWithPrefix(block: Buffer): void {
  block.write('prefix', 345, 'latin1');
}

function field(offset: number, text: string): (block: Buffer) => void {
  return (block) => void block.write(text, offset, 'latin1');
}

function base256(offset: number, length: number, value: bigint): (block: Buffer) => void {
  return (block) => {
    let rest = value;
    for (let index = offset + length - 1; index >= offset; index -= 1, rest >>= 8n) block[index] = Number(rest & 0xffn);
    block[offset] = ((block[offset] ?? 0) & 0x7f) | 0x80;
  };
}

/** A POSIX ACL as the xattr has it (include/uapi/linux/posix_acl_xattr.h). */
function acl(...entries: readonly (readonly [tag: number, permissions: number, id?: number])[]): string {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  entries.forEach(([tag, permissions, id = 0xffffffff], index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(permissions, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  });
  return bytes.toString('latin1');
}

const ACCESS = 'SCHILY.xattr.system.posix_acl_access';
const DEFAULT = 'SCHILY.xattr.system.posix_acl_default';
const CAPABILITY = 'SCHILY.xattr.security.capability';
const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex').toString('latin1');
const [USER_OBJ, USER, GROUP_OBJ, MASK, OTHER] = [1, 2, 4, 16, 32] as const;
/** The same, for the root of a user namespace alone: revision 3. */
const namespaced = (rootUid: number): string => {
  const bytes = Buffer.alloc(24);
  bytes.write(capability, 'latin1');
  bytes.writeUInt8(3, 3);
  bytes.writeUInt32LE(rootUid, 20);
  return bytes.toString('latin1');
};
const named = acl([USER_OBJ, 6], [USER, 7, 1000], [GROUP_OBJ, 4], [MASK, 7], [OTHER, 4]);
const hard = (name: string, linkName: string, more: Partial<MadeEntry> = {}): MadeEntry => ({
  name,
  type: '1',
  linkName,
  ...more,
});
const global = (records: readonly (readonly [string, string])[], name = 'pax_global_header'): MadeEntry => ({
  name,
  type: 'g',
  content: paxBody(records),
});
const special = (type: 'L' | 'K' | 'x', content: Buffer | string): MadeEntry => ({
  name: '././@LongLink',
  type,
  content,
  gnu: type !== 'x',
});
const sparse = (
  records: Readonly<Record<string, string>>,
  content: Buffer | string,
  more: Partial<MadeEntry> = {},
): MadeEntry => ({ name: 'GNUSparseFile.0/made-up', content, pax: records, ...more });
const map = (text: string): Buffer => {
  const block = Buffer.alloc((text.length + 511) & -512);
  block.write(text);
  return block;
};
const version1 = {
  'GNU.sparse.major': '1',
  'GNU.sparse.minor': '0',
  'GNU.sparse.name': 'holes',
  'GNU.sparse.realsize': '5000',
};

/** Layers at the edges of what dockerd takes, each alone; of these it takes all. */
export const takenCorners: Readonly<Record<string, readonly MadeEntry[]>> = {
  'an L with a NUL': [special('L', `${LONG}\0behind`), { name: 'short', content: 'x' }],
  'an L beside a PAX path': [
    special('L', `L-${LONG}\0`),
    special('x', paxBody([['path', 'from-pax']])),
    { name: 'short', content: 'x' },
  ],
  'an empty L beside a PAX path': [
    special('L', '\0'),
    special('x', paxBody([['path', 'from-pax']])),
    { name: 'short', content: 'x' },
  ],
  'a K beside a PAX linkpath': [
    special('K', `K-${LONG}\0`),
    special('x', paxBody([['linkpath', 'from-pax']])),
    { name: 'link', type: '2', linkName: 'short' },
  ],
  'two PAX headers': [
    special(
      'x',
      paxBody([
        ['path', 'first'],
        ['uid', '7'],
      ]),
    ),
    special('x', paxBody([['gid', '8']])),
    { name: 'short', content: 'x' },
  ],
  'an empty PAX value': [
    { name: 'file', content: 'x', uid: 5, pax: { path: '', uid: '', 'SCHILY.xattr.user.empty': '' } },
  ],
  'a v7 file': [{ name: 'file', content: 'x', type: '\0', patch: v7 }],
  'a v7 folder': [{ name: 'folder/', type: '\0', patch: v7, mode: 0o700 }],
  'a v7 folder with a long name': [
    special('L', `${LONG}/\0`),
    { name: LONG.slice(0, 100), type: '\0', patch: v7, mode: 0o700 },
  ],
  'a v7 folder whose short name has no slash': [
    special('x', paxBody([['path', 'folder/']])),
    { name: 'folder', type: '\0', patch: v7, mode: 0o700 },
  ],
  'a v7 file whose short name has a slash': [
    special('x', paxBody([['path', 'file']])),
    { name: 'file/', type: '\0', patch: v7, content: 'x' },
  ],
  'a file whose name ends with a slash': [{ name: 'file/', content: 'x' }],
  'a GNU header with a prefix': [{ name: 'file', content: 'x', gnu: true, patch: gnuWithPrefix }],
  'a g between x and its file': [
    special(
      'x',
      paxBody([
        ['path', 'from-pax'],
        ['uid', '7'],
      ]),
    ),
    global([['comment', 'g']]),
    { name: 'short', content: 'x' },
  ],
  'a g between L and its file': [
    special('L', `${LONG}\0`),
    global([['comment', 'g']]),
    { name: 'short', content: 'x' },
  ],
  'two g of two names': [
    global([['comment', 'a']]),
    global([['comment', 'b']], 'other'),
    { name: 'file', content: 'x' },
  ],
  'a g that climbs': [global([['comment', 'a']], '../g'), { name: 'file', content: 'x' }],
  'an unknown sparse version': [
    sparse(
      {
        'GNU.sparse.major': '2',
        'GNU.sparse.minor': '0',
        'GNU.sparse.name': 'holes',
        'GNU.sparse.realsize': '5000',
        path: 'plain',
      },
      'payload',
    ),
  ],
  'a sparse major alone': [
    sparse({ 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '5000', path: 'plain' }, 'payload'),
  ],
  'sparse 1.0': [sparse(version1, Buffer.concat([map('1\n4096\n700\n'), Buffer.alloc(700, 's')]))],
  'sparse 1.0 of holes alone': [sparse(version1, map('0\n'))],
  'sparse 0.1': [
    sparse(
      {
        'GNU.sparse.name': 'holes',
        'GNU.sparse.size': '5000',
        'GNU.sparse.numblocks': '1',
        'GNU.sparse.map': '4096,700',
      },
      Buffer.alloc(700, 's'),
    ),
  ],
  'sparse 0.1 with a number with a plus': [
    sparse(
      {
        'GNU.sparse.name': 'holes',
        'GNU.sparse.size': '+5000',
        'GNU.sparse.numblocks': '+1',
        'GNU.sparse.map': '+4096,+700',
      },
      Buffer.alloc(700, 's'),
    ),
  ],
  'sparse 0.0': [
    special(
      'x',
      paxBody([
        ['GNU.sparse.size', '5000'],
        ['GNU.sparse.numblocks', '1'],
        ['GNU.sparse.offset', '4096'],
        ['GNU.sparse.numbytes', '700'],
      ]),
    ),
    { name: 'holes', content: Buffer.alloc(700, 's') },
  ],
  'a sparse file without a size': [
    sparse(
      { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'holes' },
      Buffer.concat([map('1\n0\n700\n'), Buffer.alloc(700, 's')]),
    ),
  ],
  'a sparse file with two sizes': [
    sparse({ ...version1, 'GNU.sparse.size': '4900' }, Buffer.concat([map('1\n4096\n700\n'), Buffer.alloc(700, 's')])),
  ],
  'a whiteout, then a folder made opaque': [{ name: '.wh.b' }, { name: 'b/.wh..wh..opq' }],
  'a whiteout, then the folder, made opaque': [
    { name: '.wh.b' },
    { name: 'b/', type: '5' },
    { name: 'b/.wh..wh..opq' },
  ],
  'an opaque file': [{ name: 'b', content: 'x' }, { name: 'b/.wh..wh..opq' }],
  'an opaque symlink to a folder': [
    { name: 'folder/', type: '5' },
    { name: 'b', type: '2', linkName: 'folder' },
    { name: 'b/.wh..wh..opq' },
  ],
  'an opaque symlink to nothing': [{ name: 'b', type: '2', linkName: 'nothing' }, { name: 'b/.wh..wh..opq' }],
  'an opaque symlink to a file': [
    { name: 'file', content: 'x' },
    { name: 'b', type: '2', linkName: 'file' },
    { name: 'b/.wh..wh..opq' },
  ],
  'an opaque root': [{ name: '.wh..wh..opq' }],
  'a whiteout with a payload': [{ name: '.wh.b', content: 'payload' }],
  'PAX numbers with a plus': [{ name: 'file', content: 'x', pax: { uid: '+5', gid: '+6', mtime: '+7.5', size: '+1' } }],
  'PAX numbers with zeros': [
    { name: 'file', content: 'x', pax: { uid: '0000000000000000000000005', mtime: '00007.' } },
  ],
  'the last PAX time': [{ name: 'file', content: 'x', pax: { mtime: '9223372036854775807' } }],
  'times around 2262': [
    { name: 'in', content: 'x', pax: { mtime: '9223372036.854775807' } },
    { name: 'out', content: 'x', pax: { mtime: '9223372036.854775808' } },
  ],
  'an octal number with an end within': [{ name: 'file', content: 'x', patch: field(108, '0005\x00\x009') }],
  'uid 2^32': [{ name: 'file', content: 'x', pax: { uid: '4294967296', gid: '4294967303' } }],
  'uid 2^32 - 1': [
    { name: 'file', content: 'x', pax: { uid: '4294967295', gid: '4294967295' } },
    hard('hard', 'file', { uid: 5, gid: 5 }),
    hard('again', 'file', { pax: { uid: '4294967295' }, gid: 9 }),
  ],
  'uid -1 of a folder that is there': [
    { name: 'folder/file', content: 'x' },
    { name: 'folder/', type: '5', uid: 3, gid: 3 },
    { name: '/folder', type: '5', pax: { uid: '-1', gid: '-1' } },
  ],
  'uid -2': [{ name: 'file', content: 'x', pax: { uid: '-2', gid: '-3' } }],
  'uid 2^62': [{ name: 'file', content: 'x', pax: { uid: '4611686018427387909' } }],
  'uid 2^55 in base 256': [{ name: 'file', content: 'x', patch: base256(108, 8, 2n ** 54n + 5n) }],
  'a large mode': [{ name: 'file', content: 'x', mode: 0o104755 }],
  'device 4096': [{ name: 'device', type: '3', deviceMajor: 4096, deviceMinor: 5 }],
  'device 4097, 2^20 + 1': [{ name: 'device', type: '4', deviceMajor: 4097, deviceMinor: 2 ** 20 + 1 }],
  'device 4096, which looks like a whiteout': [
    { name: 'device', type: '3', deviceMajor: 4096, deviceMinor: 0, mode: 0o600 },
  ],
  'user xattrs on what cannot have them': [
    { name: 'fifo', type: '6', pax: { 'SCHILY.xattr.user.a': 'b' } },
    {
      name: 'device',
      type: '3',
      deviceMajor: 1,
      deviceMinor: 3,
      pax: { 'SCHILY.xattr.user.a': 'b', 'SCHILY.xattr.security.a': 'b' },
    },
    { name: 'folder/', type: '5', pax: { 'SCHILY.xattr.user.a': 'b' } },
    hard('hard', 'fifo', { pax: { 'SCHILY.xattr.user.b': 'c', 'SCHILY.xattr.trusted.b': 'c' } }),
  ],
  'xattrs of a symlink': [
    {
      name: 'symlink',
      type: '2',
      linkName: 'nothing',
      mode: 0o777,
      pax: { 'SCHILY.xattr.user.a': 'b', 'SCHILY.xattr.trusted.a': 'b', [CAPABILITY]: capability },
    },
    hard('hard', 'symlink', { pax: { 'SCHILY.xattr.user.b': 'c', 'SCHILY.xattr.trusted.b': 'c' } }),
  ],
  'a file through a symlink to nothing': [
    { name: 'link', type: '2', linkName: '/made/later', mode: 0o777 },
    { name: 'link/folder/file', content: 'x' },
  ],
  'an ACL that the mode cuts back': [
    { name: 'file', content: 'x', mode: 0o640, pax: { [ACCESS]: named } },
    { name: 'folder/', type: '5', mode: 0o700, pax: { [ACCESS]: named, [DEFAULT]: named } },
  ],
  'an ACL without a mask': [
    { name: 'file', content: 'x', mode: 0o604, pax: { [ACCESS]: acl([USER_OBJ, 6], [GROUP_OBJ, 4], [OTHER, 7]) } },
  ],
  'an ACL with a mask alone': [
    {
      name: 'file',
      content: 'x',
      mode: 0o640,
      pax: { [ACCESS]: acl([USER_OBJ, 7], [GROUP_OBJ, 6], [MASK, 7], [OTHER, 7]) },
    },
  ],
  'an ACL with no entry': [{ name: 'file', content: 'x', mode: 0o640, pax: { [ACCESS]: acl() } }],
  'an ACL on a hard link': [
    { name: 'file', content: 'x', mode: 0o640, pax: { [ACCESS]: named } },
    hard('hard', 'file', { mode: 0o604 }),
  ],
  'a default ACL that is inherited': [
    { name: 'folder/', type: '5', mode: 0o755, pax: { [DEFAULT]: named } },
    { name: 'folder/file', content: 'x', mode: 0o640 },
    { name: 'folder/inner/', type: '5', mode: 0o711 },
    { name: 'folder/inner/file', content: 'x', mode: 0o600 },
    { name: 'folder/symlink', type: '2', linkName: 'a' },
    { name: 'folder/fifo', type: '6', mode: 0o600 },
    { name: 'folder/.wh.gone' },
    { name: 'folder/implied/file', content: 'x' },
  ],
  'a hard link without a capability': [
    { name: 'file', content: 'x', mode: 0o755, pax: { [CAPABILITY]: capability, 'SCHILY.xattr.user.a': 'b' } },
    hard('hard', 'file', { mode: 0o755 }),
  ],
  'a hard link with the capability': [
    { name: 'file', content: 'x', mode: 0o755, pax: { [CAPABILITY]: capability } },
    hard('hard', 'file', { mode: 0o755, pax: { [CAPABILITY]: capability } }),
  ],
  'a capability on a folder': [{ name: 'folder/', type: '5', pax: { [CAPABILITY]: capability } }],
  'a hard link with an empty capability': [
    { name: 'file', content: 'x', mode: 0o755, pax: { [CAPABILITY]: '' } },
    hard('hard', 'file', { mode: 0o755 }),
  ],
  'a capability of a namespace': [{ name: 'file', content: 'x', pax: { [CAPABILITY]: namespaced(1000) } }],
  'empty ACLs': [
    { name: 'file', content: 'x', mode: 0o640, pax: { [ACCESS]: '', [DEFAULT]: '' } },
    { name: 'folder/', type: '5', mode: 0o750, pax: { [ACCESS]: '', [DEFAULT]: '' } },
  ],
  'a setgid folder': [
    { name: 'folder/', type: '5', mode: 0o2775, gid: 50 },
    { name: 'folder/implied/deeper/file', content: 'x' },
    { name: 'folder/inner/', type: '5', mode: 0o750 },
    { name: 'folder/file', content: 'x', gid: 3 },
    { name: 'folder/link', type: '2', linkName: 'file' },
    { name: 'folder/.wh.gone' },
    { name: 'folder/.wh.gone-of-another', uid: 12 },
    { name: 'folder/opaque/.wh..wh..opq' },
  ],
  'gid -1 in a setgid folder': [
    { name: 'folder/', type: '5', mode: 0o2775, gid: 50 },
    { name: 'folder/file', content: 'x', mode: 0o2755, pax: { gid: '-1' } },
    { name: 'folder/inner/', type: '5', mode: 0o2700, pax: { gid: '-1' } },
    { name: 'folder/inner/file', content: 'x', pax: { gid: '-1' } },
    { name: 'folder/link', type: '2', linkName: 'file', pax: { gid: '-1' } },
    { name: 'folder/fifo', type: '6', mode: 0o600, pax: { gid: '-1' } },
    { name: 'folder/.wh.gone', pax: { gid: '-1' } },
  ],
  'a hard link through a name that it replaces': [
    { name: 'file' },
    hard('hard', 'file'),
    hard('/file', 'hard', { mode: 0o600 }),
  ],
  'xattrs for an inode and a block': [
    {
      name: 'file',
      content: 'x',
      pax: { 'SCHILY.xattr.user.long': 'y'.repeat(4020), 'SCHILY.xattr.user.a': 'b', [CAPABILITY]: capability },
    },
  ],
  'an xattr of 255 bytes': [{ name: 'file', content: 'x', pax: { [`SCHILY.xattr.user.${'n'.repeat(250)}`]: 'x' } }],
};

/** And of these none. */
export const refusedCorners: Readonly<Record<string, readonly MadeEntry[]>> = {
  'a PAX path with a NUL': [{ name: 'short', content: 'x', pax: { path: 'with\0nul' } }],
  'a PAX linkpath with a NUL': [{ name: 'link', type: '2', pax: { linkpath: 'to\0nul' } }],
  'a PAX key with a NUL': [{ name: 'file', content: 'x', pax: { 'SCHILY.xattr.user.a\0b': 'c' } }],
  'a NUL in the name of a sparse file': [sparse({ ...version1, 'GNU.sparse.name': 'no\0les' }, map('0\n'))],
  'two g of one name': [global([['comment', 'a']]), global([['comment', 'b']]), { name: 'file', content: 'x' }],
  'a g and a file of its name': [global([['comment', 'a']]), { name: 'pax_global_header', content: 'x' }],
  'a g with a path': [global([['path', 'file']]), { name: 'file', content: 'x' }],
  'a g with a wrong number': [global([['uid', 'many']]), { name: 'file', content: 'x' }],
  'sparse 0.1 without numblocks': [
    sparse(
      { 'GNU.sparse.name': 'holes', 'GNU.sparse.size': '5000', 'GNU.sparse.map': '4096,700' },
      Buffer.alloc(700, 's'),
    ),
  ],
  'sparse 0.0 in another order': [
    special(
      'x',
      paxBody([
        ['GNU.sparse.size', '5000'],
        ['GNU.sparse.numblocks', '1'],
        ['GNU.sparse.numbytes', '700'],
        ['GNU.sparse.offset', '4096'],
      ]),
    ),
    { name: 'holes', content: Buffer.alloc(700, 's') },
  ],
  'a sparse file with more payload than its map': [
    sparse(version1, Buffer.concat([map('1\n4096\n700\n'), Buffer.alloc(800, 's')])),
  ],
  'a sparse file with less payload than its map': [
    sparse(version1, Buffer.concat([map('1\n4096\n700\n'), Buffer.alloc(600, 's')])),
  ],
  'a sparse map that is longer than the payload': [sparse(version1, map('500\n4096\n700\n'))],
  'a sparse map out of order': [
    sparse(version1, Buffer.concat([map('2\n4096\n100\n0\n100\n'), Buffer.alloc(200, 's')])),
  ],
  'a sparse folder': [sparse(version1, '', { type: '5' })],
  'an old GNU sparse file': [
    {
      name: 'old',
      type: 'S',
      content: Buffer.alloc(700, 's'),
      gnu: true,
      patch: (block) => {
        for (const [offset, value] of [
          [386, 4096],
          [398, 700],
          [483, 5000],
        ] as const)
          block.write(value.toString(8).padStart(11, '0'), offset);
      },
    },
  ],
  'an opaque folder, then its whiteout': [{ name: 'b/.wh..wh..opq' }, { name: '.wh.b' }],
  'a whiteout, then a file in it': [{ name: '.wh.b' }, { name: 'b/file', content: 'x' }],
  'a PAX number with a space': [{ name: 'file', content: 'x', pax: { uid: ' 5' } }],
  'a PAX time without seconds': [{ name: 'file', content: 'x', pax: { mtime: '.5' } }],
  'a PAX time out of range': [{ name: 'file', content: 'x', pax: { mtime: '9223372036854775808' } }],
  'a wrong atime': [{ name: 'file', content: 'x', pax: { atime: 'noon' } }],
  'an octal number with a plus': [{ name: 'file', content: 'x', patch: field(108, '+000005\0') }],
  'an octal number with a space within': [{ name: 'file', content: 'x', patch: field(108, '00 0005\0') }],
  'uid 2^63': [{ name: 'file', content: 'x', pax: { uid: '9223372036854775808' } }],
  'device 2^32 + 1': [{ name: 'device', type: '3', patch: base256(329, 8, 2n ** 32n + 1n), deviceMinor: 3 }],
  'an ACL that is none': [{ name: 'file', content: 'x', pax: { [ACCESS]: 'none' } }],
  'an ACL with a user and no mask': [
    { name: 'file', content: 'x', pax: { [ACCESS]: acl([USER_OBJ, 6], [USER, 7, 1000], [GROUP_OBJ, 4], [OTHER, 4]) } },
  ],
  'an ACL on a symlink': [{ name: 'link', type: '2', linkName: 'a', pax: { [ACCESS]: named } }],
  'a default ACL on a file': [{ name: 'file', content: 'x', pax: { [DEFAULT]: named } }],
  'a hard link to the name that it replaces': [{ name: 'file' }, hard('/file', 'file')],
  'a capability with unknown flags': [
    { name: 'file', content: 'x', pax: { [CAPABILITY]: capability.replace('\x01\0\0', '\x01\0\x01') } },
  ],
  'a capability of no namespace': [{ name: 'file', content: 'x', pax: { [CAPABILITY]: namespaced(0xffffffff) } }],
  'a capability that is none': [{ name: 'file', content: 'x', pax: { [CAPABILITY]: 'all' } }],
  'an xattr without a namespace': [{ name: 'file', content: 'x', pax: { 'SCHILY.xattr.note': 'x' } }],
  'an xattr with an empty name': [{ name: 'file', content: 'x', pax: { 'SCHILY.xattr.user.': 'x' } }],
  'an xattr of 256 bytes': [{ name: 'file', content: 'x', pax: { [`SCHILY.xattr.user.${'n'.repeat(251)}`]: 'x' } }],
  "an xattr of the kernel's alone": [{ name: 'file', content: 'x', pax: { 'SCHILY.xattr.system.data': 'x' } }],
};

/**
 * Where the dockerds differ: the one that the table tells of. Otherwise that is the newest; but what it makes of
 * xattrs of symlinks, which it gives to their targets, and of whiteouts in an opaque folder is no rule to follow.
 */
export const likeVersion: Readonly<Record<string, '26.1' | '28.5'>> = {
  'a whiteout, then a folder made opaque': '26.1',
  'a setgid folder': '28.5',
  'xattrs of a symlink': '26.1',
  'an opaque symlink to nothing': '28.5',
  'a file through a symlink to nothing': '28.5',
  'device 2^32 + 1': '28.5',
};
