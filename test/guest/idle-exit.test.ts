import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, unitProperties, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

describe('a daemon with idleExitSec', () => {
  after(cleanUpAll);

  it('leaves when nobody asks, is started again by the next request, and neither changes the store nor forgets this boot', async () => {
    const disk = (await guestDisks())('dpl-a');
    const { device } = await attach(disk.raw);
    const guest = await bootContainer({ suite: chosenSuite('trixie'), devices: [device], ...preloadedGuest() });
    await ok(guest, `mkdir -p /etc/docker-preloader && echo '{"idleExitSec":10}' > /etc/docker-preloader/config.json`);
    await guest.reboot();
    const { ActiveEnterTimestampMonotonic: started } = await unitProperties(guest, 'docker-preloader.service', [
      'ActiveEnterTimestampMonotonic',
    ]);
    const boot = JSON.parse(await ok(guest, 'cat /run/docker-preloader/boot.json')) as {
      readonly readyUsec: number;
      readonly timings: readonly unknown[];
    };

    await until(guest, '[ "$(systemctl is-active docker-preloader.service)" = inactive ]');
    const left = await unitProperties(guest, 'docker-preloader.service', ['Result', 'NRestarts', 'ExecMainStatus']);
    assert.deepEqual(left, { Result: 'success', NRestarts: '0', ExecMainStatus: '0' });
    assert.equal(await ok(guest, 'systemctl is-active docker-preloader.socket docker.service'), 'active\nactive');
    assert.equal(await nameInContainer(guest, disk.image), disk.image);

    // Would it change the store, or apply anything, the listing would show it: times of change included.
    const listing =
      'find /var/lib/docker/image /var/lib/docker/docker-preloader /var/lib/docker/overlay2/l -printf "%p %c %l\\n" | sort | sha256sum';
    const before = await ok(guest, listing);
    const status = await agentStatus(guest);
    assert.equal(status.state, 'ok');
    const raw = JSON.parse(await ok(guest, 'docker-preloader status --json')) as {
      readonly readyUsec: number;
      readonly timings: readonly unknown[];
      readonly changes: number;
    };
    assert.deepEqual([raw.readyUsec, raw.timings, raw.changes], [boot.readyUsec, boot.timings, 0]);
    const back = await unitProperties(guest, 'docker-preloader.service', [
      'ActiveState',
      'ActiveEnterTimestampMonotonic',
    ]);
    assert.equal(back['ActiveState'], 'active');
    assert.ok(Number(back['ActiveEnterTimestampMonotonic']) > Number(started), JSON.stringify([back, started]));
    assert.equal(await ok(guest, listing), before);
    assert.deepEqual(await dockerImages(guest), [disk.image]);

    // And once more, so that it is no matter of the first time.
    await until(guest, '[ "$(systemctl is-active docker-preloader.service)" = inactive ]');
    assert.equal((await agentStatus(guest)).state, 'ok');
    await guest.poweroff();
  });
});
