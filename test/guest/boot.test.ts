import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, unitProperties, until } from '../support/guest.ts';
import { type GuestDisks, guestDisks } from '../support/guest-disks.ts';
import {
  agentStatus,
  dockerImages,
  nameInContainer,
  packageInGuest,
  preloadedGuest,
} from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';

const agent = 'docker-preloader.service';

describe('a boot with the unit enabled', () => {
  let guest: Container;
  let disks: GuestDisks;
  before(async () => {
    disks = await guestDisks();
    const devices = [await attach(disks('dpl-a').raw), await attach(disks('dpl-b').raw)].map(({ device }) => device);
    guest = await bootContainer({ suite: chosenSuite('trixie'), devices, ...preloadedGuest() });
  });
  after(cleanUpAll);

  it('starts dockerd after READY, by the clock of systemd and by its rules', async () => {
    const preloader = await unitProperties(guest, agent, [
      'ActiveState',
      'ActiveEnterTimestampMonotonic',
      'Before',
      'Type',
      'NRestarts',
    ]);
    const docker = await unitProperties(guest, 'docker.service', [
      'ActiveState',
      'ExecMainStartTimestampMonotonic',
      'Requires',
      'BindsTo',
    ]);
    assert.deepEqual(
      [preloader['ActiveState'], preloader['Type'], preloader['NRestarts'], docker['ActiveState']],
      ['active', 'notify', '0', 'active'],
    );
    assert.ok(preloader['Before']?.split(' ').includes('docker.service'), preloader['Before']);
    assert.ok(Number(preloader['ActiveEnterTimestampMonotonic']) > 0);
    assert.ok(
      Number(preloader['ActiveEnterTimestampMonotonic']) <= Number(docker['ExecMainStartTimestampMonotonic']),
      `READY at ${preloader['ActiveEnterTimestampMonotonic']} µs, dockerd started at ${docker['ExecMainStartTimestampMonotonic']} µs`,
    );
    // Where only dockerd's own store is filled, containerd does not wait, and Docker is not later for it.
    const containerd = await unitProperties(guest, 'containerd.service', ['After', 'Wants']);
    assert.doesNotMatch(JSON.stringify(containerd), /docker-preloader/);
    assert.doesNotMatch(await ok(guest, 'docker-preloader boot-order | cat'), /docker-preloader-containerd/);
    // What Docker requires, it is stopped and restarted with.
    assert.ok(!`${docker['Requires']} ${docker['BindsTo']}`.includes('docker-preloader'));
  });

  it('gives Docker the images of both disks, and containers of them run', async () => {
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image, disks('dpl-b').image]);
    for (const label of ['dpl-a', 'dpl-b'])
      assert.equal(await nameInContainer(guest, disks(label).image), disks(label).image);
    assert.equal((await agentStatus(guest)).state, 'ok');
    assert.equal(await ok(guest, 'systemctl --failed --no-legend'), '');
  });

  it('keeps everything through `systemctl restart docker`', async () => {
    await ok(guest, 'systemctl restart docker');
    assert.equal(await nameInContainer(guest, disks('dpl-a').image), disks('dpl-a').image);
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image, disks('dpl-b').image]);
    assert.equal((await unitProperties(guest, agent, ['ActiveState']))['ActiveState'], 'active');
  });

  const disturbances: Readonly<Record<string, string>> = {
    'restarting the agent': `systemctl restart ${agent}`,
    'killing the agent': `systemctl kill --signal=KILL --kill-whom=main ${agent}`,
    'stopping and starting the agent': `systemctl stop docker-preloader.socket ${agent} && systemctl start ${agent}`,
    'installing the package again': `dpkg -i ${packageInGuest}`,
  };
  for (const [name, command] of Object.entries(disturbances)) {
    it(`leaves a running container alone: ${name}`, async () => {
      const state = 'docker inspect --format "{{.State.Pid}} {{.State.StartedAt}}" steady';
      if ((await guest.run(state)).code !== 0)
        await ok(
          guest,
          `docker run --detach --stop-signal KILL --name steady --network none ${disks('dpl-b').image} sleep 100000`,
        );
      const dockerd = await unitProperties(guest, 'docker.service', ['MainPID', 'InvocationID']);
      const before = await ok(guest, state);
      await ok(guest, command);
      await until(guest, 'docker-preloader status --json | grep state');
      assert.equal(await ok(guest, state), before);
      assert.deepEqual(await unitProperties(guest, 'docker.service', ['MainPID', 'InvocationID']), dockerd);
      // Its lower files are still there, and new containers start.
      assert.equal(await ok(guest, 'docker exec steady cat /name'), disks('dpl-b').image);
      assert.equal(await nameInContainer(guest, disks('dpl-a').image), disks('dpl-a').image);
    });
  }

  it('shuts down in order: Docker first, then the disks, and none fails to unmount', async () => {
    await guest.reboot();
    const journal = await ok(guest, 'journalctl --boot=-1 --no-hostname --output=short-monotonic');
    const lines = journal.split('\n');
    const stopped = lines.findIndex((line) => line.includes('Stopped docker.service'));
    const unmounted = ['dpl-a', 'dpl-b'].map((label) =>
      lines.findIndex((line) => /systemd\[1\]: Unmounted /.test(line) && line.includes(label.replace('-', '\\x2d'))),
    );
    assert.ok(stopped >= 0, journal);
    for (const index of unmounted)
      assert.ok(
        index > stopped,
        `Docker stopped at line ${stopped}, disks were unmounted at ${unmounted.join(' and ')}:\n${lines.slice(-60).join('\n')}`,
      );
    assert.deepEqual(
      lines.filter((line) => /fail(ed|ing|ure)? .*(umount|unmount)|target is busy|Result: timeout/i.test(line)),
      [],
    );
    assert.doesNotMatch(guest.console(), /failed (to )?u(n)?mount/i);
    // A second boot on the same store.
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image, disks('dpl-b').image]);
    await ok(guest, 'docker start steady');
    assert.equal(await ok(guest, 'docker exec steady cat /name'), disks('dpl-b').image);
  });

  it('recovers from a power cut', async () => {
    await guest.powerCut();
    await guest.boot();
    assert.equal(await nameInContainer(guest, disks('dpl-a').image), disks('dpl-a').image);
    await ok(guest, 'docker start steady');
    assert.equal((await agentStatus(guest)).state, 'ok');
  });

  it('takes the images of a disk away with it, but for what a container stands on', async () => {
    const [device = ''] = (
      await ok(guest, 'for d in /dev/loop[0-9]*; do [ "$(blkid -o value -s LABEL $d)" = dpl-a ] && echo $d; done; true')
    ).split('\n');
    await guest.unplug(device);
    await guest.reboot();
    assert.deepEqual(await dockerImages(guest), [disks('dpl-b').image]);
    await ok(guest, 'docker start steady');
    await guest.poweroff();
  });
});
