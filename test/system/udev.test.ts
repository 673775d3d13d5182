import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { isDriveEmpty, labelByUdev } from '../../agent/system/udev.ts';
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

  it('says which drives have no disc: what udev has not looked at may have one', (t) => {
    const folder = scratch(t);
    // As systemd 257 writes it for QEMU's drive, without and with a disc.
    const drive = 'S:cdrom\nI:16476635\nE:ID_CDROM=1\nE:ID_CDROM_DVD=1\nE:ID_TYPE=cd\n';
    writeFileSync(path.join(folder, 'b11:0'), `${drive}E:SYSTEMD_READY=0\n`);
    writeFileSync(path.join(folder, 'b11:1'), `${drive}E:ID_CDROM_MEDIA=1\nE:ID_CDROM_MEDIA_CD=1\n`);
    // Where there is no cdrom_id, and a USB stick.
    writeFileSync(path.join(folder, 'b11:2'), 'I:16476637\nE:ID_CDROM=1\n');
    writeFileSync(path.join(folder, 'b8:16'), 'I:2374512\nE:ID_BUS=usb\n');
    assert.deepEqual(
      ['11:0', '11:1', '11:2', '8:16', '11:3'].filter((number) => isDriveEmpty(number, folder)),
      ['11:0'],
    );
  });
});
