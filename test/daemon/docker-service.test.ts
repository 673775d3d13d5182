import assert from 'node:assert/strict';
import { mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { differenceOf } from '../../agent/daemon/docker-service.ts';
import { scratch } from '../support/temp-tree.ts';

describe('docker.service and the store that was filled', () => {
  it('are compared by where symlinks lead to', (t) => {
    const folder = realpathSync(scratch(t));
    const [docker, srv, other] = ['docker', 'srv', 'other'].map((name) => path.join(folder, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(srv);
    symlinkSync('srv', docker);
    const service = (dataRoot: string) => ({ dataRoot, storageDriver: undefined, usernsRemap: undefined, hosts: [] });
    for (const [served, filled] of [
      [docker, srv],
      [srv, docker],
      [docker, docker],
      [`${docker}/not/there`, `${srv}/not/there`],
    ] as const)
      assert.equal(differenceOf(service(served), filled, 'daemon.json'), undefined);
    assert.match(
      differenceOf(service(other), docker, 'daemon.json')?.message ?? '',
      /^docker\.service starts dockerd with data root .*\/other, but .*\/docker was filled/,
    );
  });
});
