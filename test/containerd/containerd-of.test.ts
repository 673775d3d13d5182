import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { containerdOf, type ContainerdPlace } from '../../agent/containerd/containerd-of.ts';
import { scratch } from '../support/temp-tree.ts';

interface Case {
  readonly is: string;
  /** What is at a socket's path, by its name; nothing at the others. */
  readonly there: Readonly<
    Partial<Record<'system' | 'told' | 'own' | 'another', 'answers' | 'mute' | 'file' | 'link'>>
  >;
  /** Whether we are configured to another socket than the system's. */
  readonly configured?: boolean;
  readonly told?: string;
  readonly expected: ContainerdPlace;
}

/** Paths are below FOLDER. */
const cases: readonly Case[] = [
  {
    is: "the system's, which answers",
    there: { system: 'answers' },
    expected: { is: 'there', address: 'FOLDER/system' },
  },
  { is: "the system's, which is busy", there: { system: 'mute' }, expected: { is: 'there', address: 'FOLDER/system' } },
  {
    is: "the system's, whose socket was left by one that was killed: dockerd would take it",
    there: { system: 'file', own: 'answers' },
    expected: { is: 'not-there-yet', address: 'FOLDER/system' },
  },
  {
    is: "the system's, whose socket is a link to nothing",
    there: { system: 'link' },
    expected: { is: 'not-there-yet', address: 'FOLDER/system' },
  },
  { is: "dockerd's, to be started", there: {}, expected: { is: 'managed', root: 'FOLDER/docker/containerd/daemon' } },
  {
    is: "dockerd's, to be started by one that is told nothing",
    there: {},
    told: '',
    expected: { is: 'managed', root: 'FOLDER/docker/containerd/daemon' },
  },
  {
    is: "dockerd's, which runs",
    there: { own: 'answers' },
    expected: { is: 'there', address: 'FOLDER/exec/containerd/containerd.sock' },
  },
  {
    is: "dockerd's, whose socket was left",
    there: { own: 'file' },
    expected: { is: 'managed', root: 'FOLDER/docker/containerd/daemon' },
  },
  {
    is: 'that which dockerd is told',
    there: { told: 'answers', system: 'answers' },
    told: 'FOLDER/told',
    expected: { is: 'there', address: 'FOLDER/told' },
  },
  {
    is: 'that which dockerd is told, and waits for',
    there: { system: 'answers', own: 'answers' },
    told: 'FOLDER/told',
    expected: { is: 'not-there-yet', address: 'FOLDER/told' },
  },
  {
    is: "the system's, which dockerd is told, and waits for",
    there: {},
    told: 'FOLDER/system',
    expected: { is: 'not-there-yet', address: 'FOLDER/system' },
  },
  {
    is: 'that which we are told, whatever dockerd does',
    there: { another: 'answers', told: 'answers', system: 'answers' },
    configured: true,
    told: 'FOLDER/told',
    expected: { is: 'there', address: 'FOLDER/another' },
  },
  {
    is: 'that which we are told, and which is not there yet',
    there: { system: 'answers', own: 'answers' },
    configured: true,
    expected: { is: 'not-there-yet', address: 'FOLDER/another' },
  },
];

describe('the containerd that images are put into', () => {
  for (const { is, there, configured = false, told, expected } of cases)
    it(`is ${is}`, async (t) => {
      const folder = scratch(t);
      mkdirSync(path.join(folder, 'exec/containerd'), { recursive: true });
      for (const [name, kind] of Object.entries(there)) {
        const file = path.join(folder, name === 'own' ? 'exec/containerd/containerd.sock' : name);
        if (kind === 'file') writeFileSync(file, '');
        if (kind === 'link') symlinkSync('/nowhere', file);
        if (kind === 'answers' || kind === 'mute') {
          const server: Server = kind === 'mute' ? createServer() : createHttp2Server();
          await once(server.listen(file), 'listening');
          t.after(() => server.close());
        }
      }
      const found = await containerdOf({
        address: path.join(folder, configured ? 'another' : 'system'),
        systemAddress: path.join(folder, 'system'),
        dockerdContainerdOption: told?.replace('FOLDER', folder),
        dataRoot: path.join(folder, 'docker'),
        execRoot: path.join(folder, 'exec'),
      });
      assert.deepEqual(JSON.parse(JSON.stringify(found).replaceAll(folder, 'FOLDER')), expected);
    });
});
