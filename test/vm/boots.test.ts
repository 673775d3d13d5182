import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, unitProperties, until } from '../support/guest.ts';
import { garbledLabel, type GuestDisks, guestDisks, manyLabels, truncatedLabel } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { makeVirtualMachine, type VirtualDisk, type VirtualMachine } from '../support/qemu.ts';
import { virtualDisks } from './virtual-disks.ts';

const suite = chosenSuite('trixie');

// One machine for all, as each boot takes half a minute where it is emulated: the tests are its life, in this order.
describe(`a virtual machine with Debian ${suite} and qcow2 disks`, () => {
  let vm: VirtualMachine;
  let disks: GuestDisks;
  const attached = (label: string, pluggable = false): VirtualDisk => ({
    id: label,
    file: disks(label).qcow2,
    pluggable,
  });
  const settled = (): Promise<void> => until(vm, 'systemctl is-active docker', 240);

  before(async () => {
    disks = await guestDisks();
    vm = await makeVirtualMachine({ suite, ...preloadedGuest() });
  });
  after(cleanUpAll);

  it('has the images of its disks at its first boot, and leaves out two broken disks by name', async () => {
    await vm.boot([attached('dpl-a'), attached('dpl-b'), attached(truncatedLabel), attached(garbledLabel)]);
    await settled();
    assert.deepEqual(await dockerImages(vm), [disks('dpl-a').image, disks('dpl-b').image]);
    assert.equal(await nameInContainer(vm, disks('dpl-a').image), disks('dpl-a').image);
    const { state, findings } = await agentStatus(vm);
    assert.equal(state, 'degraded');
    assert.deepEqual(
      findings.filter(({ code }) => code === 'DISK_TRUNCATED').map(({ label }) => label),
      [truncatedLabel],
    );
    assert.ok(
      findings.some(({ label }) => label === garbledLabel),
      JSON.stringify(findings),
    );

    const preloader = await unitProperties(vm, 'docker-preloader.service', ['ActiveEnterTimestampMonotonic']);
    const docker = await unitProperties(vm, 'docker.service', ['ExecMainStartTimestampMonotonic']);
    assert.ok(Number(preloader['ActiveEnterTimestampMonotonic']) <= Number(docker['ExecMainStartTimestampMonotonic']));
    await ok(
      vm,
      `docker run --detach --stop-signal KILL --name steady --network none ${disks('dpl-b').image} sh -c 'echo mine > /mine; exec sleep 100000'`,
    );
    await ok(vm, `docker tag ${disks('dpl-a').image} user:1`);
  });

  it('tells the order of its boot, with the kernel and udev, and finds nothing wrong with it', async () => {
    const { timeline, faults, notes } = JSON.parse(await ok(vm, 'docker-preloader boot-order --json', 240)) as {
      timeline: { entries: readonly { name: string; startUsec: number; endUsec: number }[] };
      faults: readonly unknown[];
      notes: readonly string[];
    };
    assert.deepEqual([faults, notes], [[], []]);
    const at = (name: RegExp): { startUsec: number; endUsec: number } =>
      timeline.entries.find((entry) => name.test(entry.name)) ??
      assert.fail(`${name.source} among ${timeline.entries.map((entry) => entry.name).join(', ')}`);
    assert.equal(at(/^kernel$/).startUsec, 0);
    for (const label of ['dpl-a', 'dpl-b']) {
      const seen = at(new RegExp(`^udev: /dev/vd[a-z] \\(${label}\\)$`)).startUsec;
      assert.ok(seen > 0 && seen < at(new RegExp(`^mounted: ${label} `)).startUsec, label);
    }
    assert.ok(at(/^container steady /).startUsec > at(/^docker\.service$/).endUsec);
  });

  it('is the same after a reboot, and has shut down in order', async () => {
    await vm.reboot();
    await settled();
    assert.deepEqual(await dockerImages(vm), [disks('dpl-a').image, disks('dpl-b').image, 'user:1']);
    await ok(vm, 'docker start steady');
    assert.equal(await ok(vm, 'docker exec steady cat /mine /name'), `mine\n${disks('dpl-b').image}`);
    const lines = (await ok(vm, 'journalctl --boot=-1 --output=short-monotonic')).split('\n');
    const stopped = lines.findIndex((line) => line.includes('Stopped docker.service'));
    const unmounted = lines.findIndex((line) => /systemd\[1\]: Unmounted .*dpl\\x2da/.test(line));
    assert.ok(
      stopped >= 0 && unmounted > stopped,
      `Docker stopped at line ${stopped}, dpl-a unmounted at ${unmounted}:\n${lines.slice(-60).join('\n')}`,
    );
    assert.deepEqual(
      lines.filter((line) => /failed unmounting|failed to unmount|target is busy/i.test(line)),
      [],
    );
    assert.doesNotMatch(vm.console(), /failed to unmount/i);
    await ok(
      vm,
      'echo \'{ "labels": ["dpl-*", "late-disk"], "deviceTimeoutSec": 200 }\' > /etc/docker-preloader/config.json',
    );
    await vm.poweroff();
  });

  it('waits for a named disk that arrives late, goes on without one that is gone, and takes thirty', async () => {
    const many = [attached('dpl-b', true), ...manyLabels.map((label) => attached(label))];
    await vm.boot(many);
    await until(vm, 'systemctl show --property=StatusText docker-preloader | grep late-disk', 120);
    assert.notEqual((await unitProperties(vm, 'docker.service', ['ActiveState']))['ActiveState'], 'active');
    await vm.plug(attached('late-disk'));
    await settled();
    const all = ['dpl-b', 'late-disk', ...manyLabels].map((label) => disks(label).image).sort();
    assert.equal(all.length, 30);
    // The user's tag of an image whose disk is gone stays only as far as its layers do: they are kept under it.
    assert.deepEqual(
      (await dockerImages(vm)).filter((image) => image !== 'user:1'),
      all,
    );
    for (const label of ['late-disk', 'dpl-28'])
      assert.equal(await nameInContainer(vm, disks(label).image), disks(label).image);
    await ok(vm, 'docker start steady');
    assert.equal(await ok(vm, 'docker exec steady cat /name'), disks('dpl-b').image);
  });

  it('reports a disk that is pulled out as lost, and the others go on', async () => {
    await vm.unplug('dpl-b');
    await until(vm, 'docker-preloader status --json | grep DISK_LOST', 30);
    const lost = /disk dpl-b: lost: .* on it stand image-dpl-b:1/;
    assert.match(await ok(vm, 'docker-preloader status; true'), lost);
    assert.match(await ok(vm, 'journalctl --boot --output=cat PRELOADER_CODE=DISK_LOST'), lost);
    await ok(vm, 'systemctl restart docker');
    // Let go of while Docker was stopped: another disk of that label could come now.
    assert.doesNotMatch(await ok(vm, 'docker-preloader status --json; true'), /DISK_LOST/);
    assert.doesNotMatch(await ok(vm, 'cat /proc/mounts'), /disks\/dpl-b /);
    assert.equal(await nameInContainer(vm, disks('dpl-01').image), disks('dpl-01').image);
    const daemonJson = { bridge: 'none', iptables: false, features: { 'containerd-snapshotter': true } };
    await ok(
      vm,
      `echo '${JSON.stringify(daemonJson)}' > /etc/docker/daemon.json && rm /etc/docker-preloader/config.json && sync`,
    );
    await vm.poweroff();
  });

  // The Docker of Debian 12 can have its images in its own store alone.
  const skip = suite === 'bookworm';
  it("has them in containerd's store, once Docker has its images there, also after a power cut", { skip }, async () => {
    const blobs = await virtualDisks(['a', 'b'], 'blobs-');
    const all = ['app-a:1', 'app-b:1', 'one:1'];
    await vm.boot(blobs);
    await settled();
    assert.deepEqual(await dockerImages(vm), all);
    assert.equal(await ok(vm, 'docker run --rm --network none app-a:1 cat /etc/a'), 'a');
    await ok(
      vm,
      "docker run --name stays --network none app-b:1 sh -c 'echo mine > /mine' && docker tag app-a:1 user:2",
    );
    await ok(vm, 'sync');
    await vm.powerCut();
    await vm.boot(blobs.toReversed());
    await settled();
    assert.deepEqual(await dockerImages(vm), [...all, 'user:2']);
    assert.equal(
      await ok(vm, 'docker start stays && docker cp stays:/mine - | tar -xO && docker diff stays'),
      'stays\nmine\nA /mine',
    );
    assert.equal((await agentStatus(vm)).state, 'ok');
    assert.deepEqual(await vm.run('docker-preloader boot-order --check'), { code: 0, stdout: '', stderr: '' });
    await vm.poweroff();
  });
});
