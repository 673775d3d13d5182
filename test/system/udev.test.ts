import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { labelByUdev } from '../../agent/system/udev.ts';
import { scratch } from '../support/temp-tree.ts';

describe("udev's database", () => {
  it('has the label of a filesystem', (t) => {
    const folder = scratch(t);
    // As systemd 257 writes it for an ext4 on a USB stick.
    writeFileSync(
      path.join(folder, 'b8:16'),
      'S:disk/by-label/dpl-a\nI:2374512\nE:ID_BUS=usb\nE:ID_FS_LABEL=dpl-a\nE:ID_FS_LABEL_ENC=dpl-a\nE:ID_FS_TYPE=ext4\nG:systemd\n',
    );
    writeFileSync(path.join(folder, 'b8:17'), 'I:2374513\nE:ID_FS_LABEL_ENC=dpl-b\nE:ID_FS_LABEL=\n');
    assert.deepEqual(
      ['8:16', '8:17', '8:18'].map((number) => labelByUdev(number, folder)),
      ['dpl-a', undefined, undefined],
    );
  });
});
