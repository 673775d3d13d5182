import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, unitProperties, until } from '../support/guest.ts';
import { type GuestDisk, guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';

const mountPoint = '/run/docker-preloader/disks/dpl-a';

describe('the unit', () => {
  let guest: Container;
  let disk: GuestDisk;
  before(async () => {
    disk = (await guestDisks())('dpl-a');
    const { device } = await attach(disk.raw);
    guest = await bootContainer({ suite: chosenSuite('trixie'), devices: [device], ...preloadedGuest() });
  });
  after(cleanUpAll);

  it('leaves its result in /run and one summary in the journal, for machines that live too short to be asked', async () => {
    for (const file of ['status.json', 'metrics.prom'])
      assert.equal(await ok(guest, `stat -c %a /run/docker-preloader/${file}`), '644');
    const written = JSON.parse(await ok(guest, 'cat /run/docker-preloader/status.json')) as { state: string };
    assert.equal(written.state, 'ok');
    const entries = (await ok(guest, 'journalctl --boot --output=json _SYSTEMD_UNIT=docker-preloader.service'))
      .split('\n')
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    const summaries = entries.filter(
      ({ MESSAGE }) => typeof MESSAGE === 'string' && MESSAGE.startsWith('ok: 1 disk, 1 image'),
    );
    assert.equal(summaries.length, 1, JSON.stringify(entries, null, 1));
    assert.equal(summaries[0]?.['_TRANSPORT'], 'journal', 'a structured entry');
    assert.equal(summaries[0]?.['PRELOADER_STATE'], 'ok', JSON.stringify(summaries[0]));
  });

  it('is the small program after READY, of at most 5 MB, also after a client was answered', async () => {
    await until(guest, 'docker info');
    const isSmall = async (): Promise<string> => {
      const { MainPID: pid = '' } = await unitProperties(guest, 'docker-preloader.service', ['MainPID']);
      assert.equal(await ok(guest, `readlink /proc/${pid}/exe`), '/usr/bin/docker-preloader');
      const resident = /^VmRSS:\s+(\d+) kB/m.exec(await ok(guest, `cat /proc/${pid}/status`))?.[1];
      assert.ok(Number(resident) <= 5 * 1024, `${resident} kB`);
      return pid;
    };
    const pid = await isSmall();
    assert.equal((await agentStatus(guest)).state, 'ok');
    assert.equal(await isSmall(), pid);
  });

  it('mounts read-only and gives nothing on the disk a way to act', async () => {
    const [options = ''] = (await ok(guest, `findmnt --noheadings --output OPTIONS ${mountPoint}`)).split('\n');
    for (const option of ['ro', 'nodev', 'nosuid', 'noexec', 'norecovery'])
      assert.ok(options.split(',').includes(option), options);
  });

  it('asks the dockerd of docker.service for its version where that decides which driver it takes', async () => {
    await ok(
      guest,
      `mkdir -p /root/other/aufs/x && echo '{ "dataRoot": "/root/other" }' > /root/other.json && test ! -e /usr/bin/dockerd`,
    );
    const { stdout, stderr } = await guest.run('PATH=/usr/bin docker-preloader plan --config /root/other.json');
    const said = `${stdout}${stderr}`;
    const keepsToIt = /version 20\./.test(await ok(guest, 'dockerd --version'));
    if (keepsToIt) assert.match(said, /dockerd would keep to the storage driver 'aufs'/);
    else assert.match(said, /^store image .* of disk dpl-a$/m);
  });

  it('stops within a second, with success, and the mounts stay', async () => {
    const started = performance.now();
    await ok(guest, 'systemctl stop docker-preloader.socket docker-preloader.service');
    assert.ok(performance.now() - started < 1500, `stopping took ${performance.now() - started} ms`);
    const unit = await unitProperties(guest, 'docker-preloader.service', ['Result', 'ExecMainStatus', 'ExecMainCode']);
    assert.deepEqual([unit['Result'], unit['ExecMainStatus'], unit['ExecMainCode']], ['success', '0', '1']);
    await ok(guest, `mountpoint ${mountPoint}`);
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
    await ok(guest, 'systemctl start docker-preloader.service');
  });

  it('is started by a client of its socket, and changes nothing then', async () => {
    await ok(guest, 'systemctl stop docker-preloader.service && systemctl start docker-preloader.socket');
    await until(guest, 'docker-preloader status --json | grep state');
    assert.equal((await unitProperties(guest, 'docker-preloader.service', ['ActiveState']))['ActiveState'], 'active');
    assert.equal(await ok(guest, 'docker ps --quiet --all'), '');
    assert.deepEqual(await dockerImages(guest), [disk.image]);
  });

  it('says so and fails where PID 1 does not see its mounts, and the drop-in then does the work', async () => {
    await ok(
      guest,
      `mkdir -p /etc/systemd/system/docker-preloader.service.d
      printf '[Service]\\nPrivateMounts=yes\\n' > /etc/systemd/system/docker-preloader.service.d/private.conf`,
    );
    await guest.reboot();
    const journal = await ok(
      guest,
      'journalctl --boot --output=cat _SYSTEMD_UNIT=docker-preloader.service PRELOADER_CODE=MOUNT_NAMESPACE',
    );
    assert.match(journal, /PID 1/);
    // `apply` runs as a part of docker.service, in the namespace where dockerd runs.
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
    await ok(guest, 'rm -r /etc/systemd/system/docker-preloader.service.d');
  });

  it('finds out after READY that docker.service uses another data root', async () => {
    await ok(
      guest,
      `mkdir -p /etc/systemd/system/docker.service.d
      printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock --data-root /srv/docker\\n' \\
        > /etc/systemd/system/docker.service.d/root.conf`,
    );
    await guest.reboot();
    await until(guest, 'docker-preloader status --json | grep DATA_ROOT_DIFFERS');
    const found = (await agentStatus(guest)).findings.find(({ code }) => code === 'DATA_ROOT_DIFFERS');
    assert.match(String(found?.message), /\/srv\/docker/);
    await guest.poweroff();
  });
});
