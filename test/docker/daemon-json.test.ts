import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { execa } from 'execa';
import { readDaemonConfig } from '../../agent/docker/daemon-config.ts';
import { type DockerdTree, dockerdTree, dockerdVersions } from '../support/dockerd-version.ts';
import { scratch } from '../support/temp-tree.ts';

interface ConfigCase {
  readonly is: string;
  /** `A` and `B` are data roots. */
  readonly json: string;
  readonly encode?: (json: string) => Buffer;
  /** Some dockerds do not start with it: what we make of it for these does no harm. */
  readonly notEach?: true;
}

const cases: readonly ConfigCase[] = [
  { is: 'UTF-16', json: '{"data-root":"A"}', encode: (json) => Buffer.from(`\uFEFF${json}`, 'utf16le'), notEach: true },
  {
    is: 'UTF-16, big end first',
    json: '{"data-root":"A"}',
    encode: (json) => Buffer.from(`\uFEFF${json}`, 'utf16le').swap16(),
    notEach: true,
  },
  { is: 'UTF-8 with a mark', json: '{"data-root":"A"}', encode: (json) => Buffer.from(`\uFEFF${json}`), notEach: true },
  { is: 'UTF-16 without a mark', json: '{"data-root":"A"}', encode: (json) => Buffer.from(json, 'utf16le') },
  {
    is: 'UTF-16 cut off',
    json: '{"data-root":"A"} ',
    encode: (json) => Buffer.from(`\uFEFF${json}`, 'utf16le').subarray(0, -1),
  },
  { is: 'other spaces around it', json: '\u00A0\u0085{"data-root":"A"}\u2003', notEach: true },
  { is: 'nulls', json: '{"data-root":"A","storage-driver":null,"userns-remap":null,"features":null}' },
  { is: 'a key twice', json: '{"data-root":"A","data-root":"B"}' },
  { is: 'a key twice, then null', json: '{"data-root":"A","data-root":null}' },
  { is: 'a key in other letters', json: '{"data-root":"A","Data-Root":"B"}' },
  { is: 'a key in other letters that holds an object', json: '{"data-root":"A","Data-Root":{}}' },
  { is: 'an object that holds the key', json: '{"data-root":"A","x":{"data-root":"B"}}' },
  { is: 'a comment in it', json: '{"data-root":"A" /* here */}' },
  { is: 'a comment after it', json: '{"data-root":"A"} // here', notEach: true },
  { is: 'a second value', json: '{"data-root":"A"} {"data-root":"B"}', notEach: true },
  { is: 'a number', json: '{"data-root":7}' },
  { is: 'a list', json: '["A"]' },
  { is: 'graph and data-root', json: '{"graph":"A","data-root":"B"}' },
];

for (const version of dockerdVersions) {
  describe(`daemon.json, as dockerd ${version} reads it`, { concurrency: 4 }, () => {
    let tree: DockerdTree;
    before(async () => {
      tree = await dockerdTree(version);
    });

    for (const { is, json, encode, notEach } of cases) {
      it(is, async (t) => {
        const folder = scratch(t);
        const root = (name: string): string => path.join(folder, `is-${name}`, 'docker');
        // A file where a folder is wanted: dockerd says at once which data root it cannot make.
        for (const name of ['A', 'B']) writeFileSync(path.dirname(root(name)), '');
        mkdirSync(path.join(folder, 'run'));
        const file = path.join(folder, 'run/daemon.json');
        const text = json.replaceAll('"A"', JSON.stringify(root('A'))).replaceAll('"B"', JSON.stringify(root('B')));
        writeFileSync(file, encode?.(text) ?? text);
        const theirs = await dockerdsRoot(tree, file);
        const ours = await readDaemonConfig(file).then(
          ({ dataRoot }) => path.basename(path.dirname(dataRoot)),
          () => 'refused',
        );
        assert.equal(ours, notEach === true && theirs === 'refused' ? 'is-A' : theirs);
      });
    }
  });
}

/** Which of the data roots dockerd wants to make, or that it refuses the file. */
async function dockerdsRoot({ dockerd, bin, lib }: DockerdTree, file: string): Promise<string> {
  const own = path.dirname(file);
  const { all, exitCode } = await execa(
    dockerd,
    [
      '--config-file',
      file,
      '--host',
      `unix://${own}/docker.sock`,
      '--exec-root',
      `${own}/exec`,
      '--pidfile',
      `${own}/docker.pid`,
      '--bridge=none',
      '--iptables=false',
    ],
    {
      cwd: own,
      reject: false,
      all: true,
      timeout: 30_000,
      env: { PATH: `${bin}:${process.env['PATH'] ?? ''}`, ...(lib === undefined ? {} : { LD_LIBRARY_PATH: lib }) },
    },
  );
  assert.equal(exitCode, 1, all);
  return (
    /(is-[AB])(?:\/docker)?: not a directory/.exec(all)?.[1] ??
    (/unable to configure the Docker daemon/.test(all) ? 'refused' : assert.fail(all))
  );
}
