import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import type { DebianSuite } from '../support/debian-packages.ts';
import { fails, ok, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, packageFile, packageInGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

// systemd 252 always, and that of the suite that was asked for: 257 with trixie.
const suites = new Set<DebianSuite>(['bookworm', chosenSuite('trixie')]);

for (const suite of suites) {
  describe(`the package on Debian ${suite}`, () => {
    after(cleanUpAll);

    it('installs, passes systemd-analyze verify, takes effect at the next start of Docker, and is removed without a trace', async () => {
      const disk = (await guestDisks())('dpl-a');
      const { device } = await attach(disk.raw);
      const guest = await bootContainer({
        suite,
        devices: [device],
        files: { [packageInGuest]: { copyOf: packageFile() } },
      });
      // The user's own image, made before the package came.
      await ok(guest, 'mkdir -p /tmp/own && cp /bin/busybox /tmp/own && tar -C /tmp/own -c . | docker import - own:1');

      await fails(guest, 'command -v node nodejs bun');
      await ok(guest, `dpkg -i ${packageInGuest}`);
      const units =
        'docker-preloader.service docker-preloader.socket docker-preloader-containerd.service docker-preloader-before-containerd.target';
      assert.equal(await ok(guest, `systemctl is-enabled ${units} | uniq; true`), 'disabled');
      const verify = await guest.run(`systemd-analyze --man=no verify ${units} docker.service containerd.service`);
      assert.deepEqual(verify, { code: 0, stdout: '', stderr: '' });
      const strict = await guest.run(`mkdir -p /etc/systemd/system/docker.service.d
        cp /usr/share/docker-preloader/docker.service.d-strict.conf /etc/systemd/system/docker.service.d/50-docker-preloader.conf
        systemd-analyze --man=no verify docker.service; code=$?
        rm -r /etc/systemd/system/docker.service.d; exit $code`);
      assert.deepEqual(strict, { code: 0, stdout: '', stderr: '' });

      // Docker runs: nothing changes but what is pending is told.
      await ok(guest, 'systemctl enable --now docker-preloader');
      assert.deepEqual(await dockerImages(guest), ['own:1']);
      assert.match(JSON.stringify(await agentStatus(guest)), /systemctl restart docker/);
      await ok(guest, 'systemctl restart docker');
      assert.deepEqual(await dockerImages(guest), [disk.image, 'own:1']);
      assert.equal(await nameInContainer(guest, disk.image), disk.image);

      // The store is what the disk says, as dockerd sees it, and looking at that changes nothing.
      const mounts = await ok(guest, 'cat /proc/1/mountinfo');
      assert.match(
        await ok(guest, 'docker-preloader verify --deep'),
        /^ok: no fault: \/var\/lib\/docker against 1 disk, \d+ metadata files compared, 2 layers of \d+\.\d MB compared with their digests$/,
      );
      assert.equal(await ok(guest, 'docker-preloader plan'), 'nothing to do');
      assert.equal(await ok(guest, 'cat /proc/1/mountinfo'), mounts);
      await ok(guest, 'umount -l /run/docker-preloader/disks/dpl-a');
      assert.match(
        await fails(guest, 'docker-preloader verify'),
        /^STORE_DAMAGED: disk dpl-a is not mounted where dockerd looks for its layers; run: systemctl restart docker$/m,
      );
      await ok(guest, 'systemctl restart docker && docker-preloader verify');

      // While Docker runs the removal is refused in one line, and the package stays as it was.
      const refused = await fails(guest, 'dpkg -r docker-preloader');
      assert.equal(
        refused.split('\n').filter((line) => /docker-preloader: .*Docker|dockerd/i.test(line)).length,
        1,
        refused,
      );
      assert.equal(await ok(guest, "dpkg-query -W -f '${db:Status-Status}' docker-preloader"), 'installed');
      assert.equal(await nameInContainer(guest, disk.image), disk.image);

      await ok(guest, 'systemctl stop docker.socket docker.service && dpkg -r docker-preloader');
      assert.equal(
        await ok(
          guest,
          'ls /usr/bin/docker-preloader /usr/lib/systemd/system/docker-preloader* /usr/lib/systemd/system/docker.service.d/* 2>/dev/null | wc -l',
        ),
        '0',
      );
      await guest.reboot();
      await until(guest, 'docker info');
      assert.deepEqual(await dockerImages(guest), ['own:1']);
      assert.equal(await ok(guest, 'docker run --rm --network none own:1 /busybox echo works'), 'works');
      assert.equal(await ok(guest, 'systemctl --failed --no-legend; find /var/lib/docker/overlay2 -xtype l'), '');
      await guest.poweroff();
    });
  });
}
