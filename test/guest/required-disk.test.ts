import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, unitProperties, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

const config = { required: ['dpl-b'], deviceTimeoutSec: 1 };
const strict = `mkdir -p /etc/systemd/system/docker.service.d
cp /usr/share/docker-preloader/docker.service.d-strict.conf /etc/systemd/system/docker.service.d/50-docker-preloader.conf`;

describe('a required disk that is missing', () => {
  after(cleanUpAll);

  it('does not keep Docker from starting with the drop-in as installed, and is taken when it has come', async () => {
    const disks = await guestDisks();
    const a = await attach(disks('dpl-a').raw);
    const b = await attach(disks('dpl-b').raw);
    const guest = await bootContainer({ suite: chosenSuite('trixie'), devices: [a.device], ...preloadedGuest(config) });
    assert.equal((await unitProperties(guest, 'docker.service', ['ActiveState']))['ActiveState'], 'active');
    const status = await agentStatus(guest);
    assert.equal(status.state, 'failed');
    assert.ok(
      status.findings.some(({ code, message }) => code === 'REQUIRED_MISSING' && message.includes('dpl-b')),
      JSON.stringify(status.findings),
    );

    await guest.plug(b.device);
    await ok(guest, 'systemctl restart docker');
    assert.ok((await dockerImages(guest)).includes(disks('dpl-b').image));
    assert.equal(await nameInContainer(guest, disks('dpl-b').image), disks('dpl-b').image);
    await until(guest, 'docker-preloader status --json | grep -E \'"state": ?"ok"\'');
    await guest.poweroff();
  });

  it('keeps Docker from starting with the strict drop-in, until it has come', async () => {
    const disks = await guestDisks();
    const b = await attach(disks('dpl-b').raw);
    const guest = await bootContainer({ suite: chosenSuite('trixie'), ...preloadedGuest(config, { setup: strict }) });
    const docker = await unitProperties(guest, 'docker.service', [
      'ActiveState',
      'SubState',
      'ExecMainStartTimestampMonotonic',
    ]);
    assert.notEqual(docker['ActiveState'], 'active');
    assert.equal(docker['ExecMainStartTimestampMonotonic'], '0', 'dockerd must not have run');
    assert.match(await ok(guest, 'journalctl --boot --identifier=docker-preloader --output=cat'), /dpl-b/);

    await guest.plug(b.device);
    await ok(guest, 'systemctl reset-failed docker.service docker.socket; systemctl start docker');
    assert.equal(await nameInContainer(guest, disks('dpl-b').image), disks('dpl-b').image);
    await guest.poweroff();
  });
});
