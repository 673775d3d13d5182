import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { execa } from 'execa';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';
import { tempTree } from '../support/temp-tree.ts';

describe("a disk's content in the guest's own root", () => {
  after(cleanUpAll);

  it('is there at each boot, and its images go with it when Docker next starts', async () => {
    const { path: folder } = await tempTree('dpl-baked');
    const disks = await guestDisks();
    const { device } = await attach(disks('dpl-a').raw);
    const mounted = path.join(folder, 'mounted');
    await mkdir(mounted);
    await execa('mount', ['-o', 'ro', device, mounted]);
    const tar = path.join(folder, 'dpl-a.tar');
    await execa('tar', ['-C', mounted, '--xattrs', '--xattrs-include=*', '-cf', tar, '.']);
    const folders = '/usr/lib/docker-preloader/disks';
    const guest = await bootContainer({
      suite: chosenSuite('trixie'),
      ...preloadedGuest(
        { sources: [`${folders}/*`] },
        {
          files: { '/root/dpl-a.tar': { copyOf: tar } },
          setup: `install -d -m 700 ${folders} && mkdir ${folders}/dpl-a\ntar -C ${folders}/dpl-a --xattrs --xattrs-include='*' -xpf /root/dpl-a.tar`,
        },
      ),
    });
    const { image } = disks('dpl-a');
    for (const boot of [1, 2]) {
      assert.deepEqual(await dockerImages(guest), [image], `boot ${boot}`);
      assert.equal(await nameInContainer(guest, image), image);
      const { state, findings } = await agentStatus(guest);
      assert.deepEqual([state, findings], ['ok', []]);
      assert.match(
        await ok(guest, 'findmnt -no OPTIONS /run/docker-preloader/disks/dpl-a'),
        /^ro,nosuid,nodev,noexec,/,
      );
      if (boot === 1) await guest.reboot();
    }
    await ok(guest, `systemctl restart docker && rm -rf ${folders}/dpl-a`);
    assert.deepEqual(await dockerImages(guest), [image]);
    await ok(guest, 'systemctl restart docker');
    assert.deepEqual(await dockerImages(guest), []);
    await ok(
      guest,
      'systemctl stop docker.socket docker && dpkg --purge docker-preloader && ! findmnt -rno TARGET | grep docker-preloader',
    );
    await guest.poweroff();
  });
});
