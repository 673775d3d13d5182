import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { applySteps } from '../../agent/containerd/apply-namespace.ts';
import { Namespace } from '../../agent/containerd/client.ts';
import { scratch } from '../support/temp-tree.ts';
import { farm } from './made-up.ts';

it('mends links in the place of nothing, of an empty folder and of another link, and passes over a snapshot that has gone', async (t) => {
  const root = scratch(t);
  const at = (name: string): string => path.join(root, 'snapshots', name, 'fs');
  for (const name of ['1', '2', '3']) mkdirSync(path.dirname(at(name)), { recursive: true });
  mkdirSync(at('2'));
  symlinkSync('/elsewhere', at('3'));
  const asked: string[] = [];
  const namespace = new Namespace('moby', ({ path: method }) => {
    asked.push(method);
    return Promise.resolve([]);
  });
  const refused = await applySteps(
    namespace,
    ['1', 'gone', '2', '3'].map((name) => ({ do: 'mend-link', path: at(name), target: `/farm/${name}` }) as const),
    { roots: { snapshots: root, content: root, sharesContent: true }, farm },
  );
  assert.deepEqual(
    ['1', '2', '3'].map((name) => readlinkSync(at(name))),
    ['/farm/1', '/farm/2', '/farm/3'],
  );
  assert.deepEqual(readdirSync(path.join(root, 'snapshots')), ['1', '2', '3']);
  assert.deepEqual([refused.size, asked], [0, []]);
});
