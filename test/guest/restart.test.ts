import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import path from 'node:path';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, until } from '../support/guest.ts';
import { type GuestDisks, guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach, copyWithLabel } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';
import { tempTree } from '../support/temp-tree.ts';

const agent = 'docker-preloader.service';

describe('a restart of Docker', () => {
  let guest: Container;
  let disks: GuestDisks;
  let device: Readonly<Record<'a' | 'b' | 'newer', string>>;
  before(async () => {
    disks = await guestDisks();
    // Another content under the label of dpl-b, as its newer build has.
    const newer = path.join((await tempTree('dpl-newer')).path, 'newer.raw');
    await copyWithLabel(disks('dpl-01').raw, newer, 'dpl-b');
    const [a, b, other] = [await attach(disks('dpl-a').raw), await attach(disks('dpl-b').raw), await attach(newer)];
    device = { a: a.device, b: b.device, newer: other.device };
    // A killed agent stays away until Docker starts, and Docker may be started as often as the test needs.
    guest = await bootContainer({
      suite: chosenSuite('trixie'),
      devices: [device.a],
      ...preloadedGuest(
        {},
        {
          files: {
            '/etc/docker/daemon.json': '{ "live-restore": true }',
            '/etc/systemd/system/docker-preloader.service.d/once.conf': '[Service]\nRestart=no\n',
            '/etc/systemd/system/docker.service.d/often.conf': '[Unit]\nStartLimitIntervalSec=0\n',
          },
        },
      ),
    });
  });
  after(cleanUpAll);

  it('picks up a disk that has come, also after the agent was killed', async () => {
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image]);
    await ok(guest, `systemctl stop docker-preloader.socket; systemctl kill --signal=KILL --kill-whom=main ${agent}`);
    await until(guest, `systemctl is-failed ${agent}`);
    await guest.plug(device.b);
    await ok(guest, 'systemctl restart docker');
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image, disks('dpl-b').image]);
    assert.equal(await nameInContainer(guest, disks('dpl-b').image), disks('dpl-b').image);
  });

  it('is not needed where Docker is stopped: the start of the agent fills the store, but not one that a client brings about', async () => {
    const names = async (): Promise<readonly string[]> => {
      const text = await ok(guest, 'cat /var/lib/docker/image/overlay2/repositories.json');
      return [disks('dpl-a').image, disks('dpl-b').image].filter((image) => text.includes(`"${image}"`));
    };
    await ok(guest, `systemctl stop docker.socket docker`);
    await guest.unplug(device.b);
    await ok(guest, `systemctl restart ${agent}`);
    assert.deepEqual(await names(), [disks('dpl-a').image]);

    await ok(guest, `systemctl stop ${agent}`);
    await guest.plug(device.b);
    const { pending } = JSON.parse(await ok(guest, 'docker-preloader status --json')) as {
      readonly pending: readonly string[];
    };
    assert.ok(
      pending.some((step) => step.includes(disks('dpl-b').image)),
      pending.join('\n'),
    );
    assert.deepEqual(await names(), [disks('dpl-a').image]);

    await ok(guest, `systemctl restart ${agent}`);
    assert.deepEqual(await names(), [disks('dpl-a').image, disks('dpl-b').image]);
    assert.equal((await guest.run('systemctl is-active docker')).stdout.trim(), 'inactive');
    await ok(guest, 'systemctl start docker');
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image, disks('dpl-b').image]);
  });

  it('leaves running containers and their layers as they are with live-restore: nothing changed, another disk under the label, no disk', async () => {
    await ok(
      guest,
      `docker run --detach --name steady --network none ${disks('dpl-b').image} sh -c 'while :; do cat /name > /new; mv /new /seen; sleep 0.1; done'`,
    );
    const pid = await ok(guest, 'docker inspect --format "{{.State.Pid}}" steady');
    const lower = await ok(guest, 'docker inspect --format "{{.GraphDriver.Data.LowerDir}}" steady');
    const layers = `ls -d ${lower.replaceAll(':', ' ')}`;
    const steady = async (): Promise<void> => {
      assert.equal(
        await ok(guest, 'docker inspect --format "{{.State.Pid}} {{.State.Status}} {{.RestartCount}}" steady'),
        `${pid} running 0`,
      );
      assert.equal(
        await ok(guest, 'rm -f /proc/' + pid + '/root/seen; sleep 1; cat /proc/' + pid + '/root/seen'),
        disks('dpl-b').image,
      );
      assert.equal(await ok(guest, 'docker exec steady cat /name'), disks('dpl-b').image);
      await ok(guest, layers);
    };
    await ok(guest, 'systemctl restart docker');
    await steady();

    // A newer build in its place; what the container stands on is nowhere then but in the running mount.
    await guest.unplug(device.b);
    await guest.plug(device.newer);
    await ok(guest, 'systemctl restart docker');
    await steady();
    assert.ok((await dockerImages(guest)).includes(disks('dpl-01').image));
    assert.equal(await nameInContainer(guest, disks('dpl-01').image), disks('dpl-01').image);

    await guest.unplug(device.newer);
    await ok(guest, 'systemctl restart docker');
    await steady();
    assert.ok(!(await dockerImages(guest)).includes(disks('dpl-01').image));
  });

  it('picks up what went, also after the agent was stopped, and names what the container stands on', async () => {
    await ok(
      guest,
      `systemctl reset-failed docker-preloader.socket ${agent} && systemctl start docker-preloader.socket ${agent} && systemctl stop docker-preloader.socket ${agent}`,
    );
    await guest.plug(device.b);
    await ok(guest, 'systemctl restart docker && docker rm --force steady');
    assert.equal(await nameInContainer(guest, disks('dpl-b').image), disks('dpl-b').image);
    await ok(guest, `docker create --name later --network none ${disks('dpl-b').image} cat /name`);
    await guest.unplug(device.b);
    await ok(guest, 'systemctl restart docker');
    const names = new RegExp(
      `disk dpl-b .*container (later|${(await ok(guest, 'docker inspect --format "{{.Id}}" later')).slice(0, 12)}).*a disk that has it`,
    );
    assert.match(await ok(guest, 'journalctl --boot --output=cat PRELOADER_CODE=KEPT | tail -n 1'), names);
    // On a fast machine these are more starts than systemd allows in ten seconds.
    await ok(
      guest,
      `systemctl reset-failed docker-preloader.socket ${agent} && systemctl start docker-preloader.socket ${agent}`,
    );
    const kept = (await agentStatus(guest)).findings.find(({ code }) => code === 'KEPT');
    assert.match(kept?.message ?? '', names);
    await guest.plug(device.b);
    await ok(guest, 'systemctl restart docker');
    assert.equal(await ok(guest, 'docker start --attach later'), disks('dpl-b').image);
    await guest.poweroff();
  });
});
