import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { dockerImages, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

describe('a disk that comes between READY and the watch for devices', () => {
  after(cleanUpAll);

  it('is mounted, announced in the journal and pending, and taken at the next start of Docker', async () => {
    const disk = (await guestDisks())('dpl-b');
    const { device } = await attach(disk.raw);
    const minor = statSync(device).rdev & 0xff;
    const guest = await bootContainer({ suite: chosenSuite('trixie'), ...preloadedGuest() });
    assert.deepEqual(await dockerImages(guest), []);
    // systemd runs it as soon as it has read READY=1, while the agent still loads what it needs from then on.
    await ok(
      guest,
      `mkdir -p /etc/systemd/system/docker-preloader.service.d
      printf '[Service]\nExecStartPost=+mknod ${device} b 7 ${minor}\n' > /etc/systemd/system/docker-preloader.service.d/plug.conf
      systemctl daemon-reload && systemctl restart docker-preloader`,
    );
    await until(guest, 'docker-preloader status --json | grep -F dpl-b');
    const times = async (file: string): Promise<unknown> => {
      const { readyUsec, timings } = JSON.parse(await ok(guest, `cat /run/docker-preloader/${file}`)) as Record<
        string,
        unknown
      >;
      return { readyUsec, timings };
    };
    assert.deepEqual(await times('status.json'), await times('boot.json'));
    assert.match(await ok(guest, 'docker-preloader status; true'), /pending/);
    await ok(guest, 'mountpoint /run/docker-preloader/disks/dpl-b');
    assert.match(
      await ok(guest, 'journalctl --boot --output=cat --unit=docker-preloader --lines=3'),
      /1 disk, 1 image, .* pending: run systemctl restart docker/,
    );
    await ok(guest, 'systemctl restart docker');
    assert.deepEqual(await dockerImages(guest), [disk.image]);
    await guest.poweroff();
  });
});
