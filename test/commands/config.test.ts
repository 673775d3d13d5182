import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agent } from '../support/agent.ts';
import { makeScratch, removeScratch } from '../support/temp-tree.ts';

const KEY = `AAAAC3NzaC1lZDI1NTE5AAAAI${'b'.repeat(43)}`;

describe('config', () => {
  let folder: string;
  before(() => {
    folder = makeScratch();
    mkdirSync(path.join(folder, 'mounts'));
  });
  after(() => removeScratch(folder));

  it('prints values as a configuration file has them, each with its source', async () => {
    const file = path.join(folder, 'config.json');
    const said = {
      labels: ['dpl-a'],
      required: [`dpl-a@sha256:${'a'.repeat(64)}`],
      trustedKeys: [`ssh-ed25519 ${KEY} release@example, and more`],
      sources: ['/srv/a, b', 'virtiofs:t'],
      dataRoot: '/srv/docker',
      mountRoot: path.join(folder, 'mounts'),
    };
    writeFileSync(file, JSON.stringify(said));
    const printed = async (): Promise<Record<string, { value: unknown; source: string | null }>> => {
      const { exitCode, stdout, all } = await agent(['config', '--json', '--config', file]);
      assert.equal(exitCode, 0, all);
      return JSON.parse(stdout) as Record<string, { value: unknown; source: string | null }>;
    };
    const first = await printed();
    for (const key of Object.keys(said)) assert.equal(first[key]?.source, file, key);
    assert.deepEqual(first['trustedKeys']?.value, [`ssh-ed25519 ${KEY}`]);
    assert.deepEqual(first['required']?.value, said.required);
    const values = Object.entries(first).flatMap(([key, { value }]) => (value === null ? [] : [[key, value] as const]));
    writeFileSync(file, JSON.stringify(Object.fromEntries(values)));
    const again = await printed();
    for (const [key, { value }] of Object.entries(first)) assert.deepEqual(again[key]?.value, value, key);
  });

  it('says which source is wrong, and has the exit status of a wrong configuration', async () => {
    const file = path.join(folder, 'wrong.json');
    writeFileSync(file, '{"trustedKeys": ["x"]}');
    const { exitCode, stdout, stderr } = await agent(['config', '--config', file]);
    assert.deepEqual([exitCode, stdout], [2, '']);
    assert.match(stderr, /wrong\.json: `trustedKeys\.0`: expected an Ed25519 key .*, found "x"$/);
  });
});
