import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { cached } from '../support/cache.ts';
import { debianMirror } from '../../agent/packaging/small/debian-apt.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { dockerArchive, layerTar } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';
import { makeImage, packImage } from './build.ts';

export const imageNames = ['busybox', 'python', 'large'] as const;
export type ImageName = (typeof imageNames)[number];

/** What is given to `docker run` after the options. */
export const commands: Readonly<Record<ImageName, readonly string[]>> = {
  busybox: ['bench/busybox:1', '/bin/sh', '-c', 'ls /bin'],
  python: [
    'bench/python:1',
    '/usr/bin/python3',
    '-c',
    'import asyncio, email, json, sqlite3, ssl, xml.dom.minidom, flask, requests, sqlalchemy.orm, sqlalchemy.dialects.sqlite',
  ],
  large: ['bench:1', '/bin/sh', '-c', 'find /usr -type f -exec cat {} + > /dev/null'],
};

/**
 * Makes an archive: busybox; Debian with Python, and a program in it that imports what a web service imports; busybox
 * that reads so many MB of this machine's own files, in 12 layers.
 */
export async function imageArchive(name: ImageName, folder: string, largeMb: number): Promise<string> {
  const archive = path.join(folder, 'image.tar');
  if (name === 'busybox')
    writeFileSync(archive, await dockerArchive([{ tags: ['bench/busybox:1'], layers: [await busyboxRoot()] }]));
  else if (name === 'python') await packImage(folder, 'bench/python:1', [path.join(await pythonRoot(), 'layer.tar')]);
  else {
    const base = path.join(folder, 'base.tar');
    writeFileSync(base, await layerTar(await busyboxRoot()));
    await makeImage(folder, largeMb, [base]);
  }
  return archive;
}

async function pythonRoot(): Promise<string> {
  const packages = ['python3', 'python3-flask', 'python3-requests', 'python3-sqlalchemy'];
  const args = [
    '--mode=root',
    '--variant=minbase',
    '--architectures=amd64',
    `--include=${packages.join(',')}`,
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    'trixie',
  ];
  const recipe = createHash('sha256').update(JSON.stringify(args)).digest('hex').slice(0, 12);
  return cached(`bench-python-${recipe}`, async (temp) => {
    await ensureDebianPackages(['mmdebstrap'], { install: true });
    await execa('mmdebstrap', [...args, path.join(temp, 'layer.tar'), await debianMirror()], {
      stdin: 'ignore',
      timeout: 15 * 60_000,
    });
  });
}
