import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import {
  emptyNamespaceLedger,
  readContainerdLedger,
  writeContainerdLedger,
  type NamespaceLedger,
} from '../../agent/containerd/containerd-ledger.ts';
import type { ImageID } from '../../agent/docker/ids.ts';
import { scratch } from '../support/temp-tree.ts';

const image = `sha256:${'1'.repeat(64)}` as ImageID;
const entry: NamespaceLedger = {
  references: new Map([['docker.io/library/app:1', image]]),
  next: new Map([['docker.io/library/next:1', image]]),
  removed: new Map([['docker.io/library/removed:1', image]]),
  displaced: new Map([['docker.io/library/displaced:1', image]]),
  made: new Map([['docker.io/library/app:1', '001700000000.000000001']]),
};

describe('the ledger of a containerd', () => {
  it('is read as it was written, and is of one containerd alone', (t) => {
    const root = scratch(t);
    writeContainerdLedger(root, 'uuid-1', new Map([['moby', entry]]));
    assert.deepEqual(readContainerdLedger(root, 'uuid-1'), { state: 'read', ledger: new Map([['moby', entry]]) });
    assert.deepEqual(readContainerdLedger(root, 'uuid-2'), { state: 'none', ledger: new Map() });
  });

  it('goes where there is nothing to note', (t) => {
    const root = scratch(t);
    writeContainerdLedger(root, 'uuid', new Map([['moby', entry]]));
    writeContainerdLedger(root, 'uuid', new Map([['moby', emptyNamespaceLedger]]));
    assert.deepEqual(readdirSync(path.join(root, 'docker-preloader')), []);
  });

  it('is taken as empty where it is damaged', (t) => {
    const root = scratch(t);
    writeContainerdLedger(root, 'uuid', new Map([['moby', entry]]));
    const file = path.join(root, 'docker-preloader/containerd-uuid.json');
    const whole = readFileSync(file, 'utf8');
    for (const damaged of ['', whole.slice(0, 40), whole.replace(image, 'sha256:1'), '{"formatVersion":"1.0"}']) {
      writeFileSync(file, damaged);
      const { state, ledger } = readContainerdLedger(root, 'uuid');
      assert.deepEqual([state, ledger.size], ['invalid', 0], damaged);
    }
  });

  it('is taken as empty where a folder is in its place, and can be written again', (t) => {
    const root = scratch(t);
    mkdirSync(path.join(root, 'docker-preloader/containerd-uuid.json/folder'), { recursive: true });
    assert.equal(readContainerdLedger(root, 'uuid').state, 'invalid');
    writeContainerdLedger(root, 'uuid', new Map([['moby', entry]]));
    assert.equal(readContainerdLedger(root, 'uuid').state, 'read');
  });

  it('of a newer major format is left alone', (t) => {
    const root = scratch(t);
    writeContainerdLedger(root, 'uuid', new Map([['moby', entry]]));
    const file = path.join(root, 'docker-preloader/containerd-uuid.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"1.0"', '"2.0"'));
    assert.throws(() => readContainerdLedger(root, 'uuid'), { code: 'LEDGER_NEWER' });
  });
});
