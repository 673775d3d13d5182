import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, until } from '../support/guest.ts';
import { type GuestDisks, guestDisks } from '../support/guest-disks.ts';
import { dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';

describe('a night of `docker system prune -af`', () => {
  let guest: Container;
  let disks: GuestDisks;
  before(async () => {
    disks = await guestDisks();
    guest = await bootContainer({
      suite: chosenSuite('trixie'),
      devices: [(await attach(disks('dpl-a').raw)).device],
      ...preloadedGuest(),
    });
  });
  after(cleanUpAll);

  it('leaves the images: the unit finds dockerd behind docker.socket, and the journal says what came back', async () => {
    const { image } = disks('dpl-a');
    assert.deepEqual(await dockerImages(guest), [image]);
    await until(guest, '[ "$(docker info --format "{{.NEventsListener}}")" = 1 ]');
    for (let night = 1; night <= 2; night += 1) {
      await ok(guest, 'docker system prune -af');
      await until(guest, `docker image inspect ${image} > /dev/null`);
      await until(guest, `[ "$(journalctl --boot --output=cat PRELOADER_CODE=RESTORED | wc -l)" = ${night} ]`);
    }
    assert.equal(await nameInContainer(guest, image), image);
    assert.match(
      await ok(guest, 'journalctl --boot --output=cat PRELOADER_CODE=RESTORED | tail -n 1'),
      new RegExp(`^1 image that a prune took is back: ${image}$`),
    );
    await ok(guest, 'docker-preloader verify');
  });

  it('does not start a Docker that is stopped while something is restored', async () => {
    await ok(guest, 'docker system prune -af; systemctl stop docker');
    await new Promise((resolve) => setTimeout(resolve, 4000));
    assert.equal(
      (await guest.run('systemctl is-active docker.service docker.socket')).stdout.trim(),
      'inactive\nactive',
    );
    await ok(guest, 'systemctl start docker');
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image]);
    await until(guest, '[ "$(docker info --format "{{.NEventsListener}}")" = 1 ]');
  });

  it('does not connect to docker.socket before docker.service has started, which would start it', async () => {
    await ok(guest, 'systemctl stop docker');
    // A dockerd that has the data root and does not answer yet; it ends before it does.
    await ok(guest, 'flock /var/lib/docker/volumes/metadata.db sleep 3');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert.equal(
      (await guest.run('systemctl is-active docker.service docker.socket')).stdout.trim(),
      'inactive\nactive',
    );
    await guest.poweroff();
  });
});
