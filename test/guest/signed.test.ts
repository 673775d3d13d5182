import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { fails, ok } from '../support/guest.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { busyboxRoot } from '../support/images.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';
import { makeKey, publicLine } from '../support/signing-key.ts';
import { tempTree } from '../support/temp-tree.ts';

const configFile = '/etc/docker-preloader/config.json';
const strict = `install -D -m 644 /usr/share/docker-preloader/docker.service.d-strict.conf /etc/systemd/system/docker.service.d/50-docker-preloader.conf
systemctl daemon-reload`;

describe('a guest with trustedKeys', () => {
  let guest: Container;
  let trusted: string;

  before(async () => {
    await ensureDebianPackages(['openssh-client'], { install: true });
    const { path: folder } = await tempTree('dpl-signed-guest');
    const [key, other] = ['key', 'other'].map((name) => makeKey(path.join(folder, name)));
    trusted = publicLine(key ?? '');
    const devices: string[] = [];
    for (const [name, signer] of [
      ['ours', key],
      ['theirs', other],
      ['nobody', undefined],
    ] as const) {
      const layers = [await busyboxRoot(), [{ name: 'name', content: `${name}:1\n` }]];
      const archive = await dockerArchive([{ tags: [`${name}:1`], layers }]);
      const sign = signer === undefined ? [] : ['--sign', signer];
      const disk = await makeDisk(path.join(folder, name), archive, '--label', `dpl-${name}`, ...sign);
      devices.push((await attach(disk)).device);
    }
    guest = await bootContainer({
      suite: chosenSuite('trixie'),
      devices,
      ...preloadedGuest({ trustedKeys: [trusted] }),
    });
  });
  after(cleanUpAll);

  const mounts = (): Promise<string> => ok(guest, "findmnt -rno TARGET | grep '^/run/docker-preloader/disks/' || true");
  const isDockerActive = async (): Promise<boolean> => (await guest.run('systemctl is-active docker')).code === 0;
  /** All that an agent has said in this boot. */
  const journal = (): Promise<string> => ok(guest, 'journalctl --boot --identifier=docker-preloader --output=export');
  const isOurs = async (): Promise<void> => {
    assert.equal(await isDockerActive(), true);
    assert.deepEqual(await dockerImages(guest), ['ours:1']);
    assert.equal(await nameInContainer(guest, 'ours:1'), 'ours:1');
    assert.equal(await mounts(), '/run/docker-preloader/disks/dpl-ours');
  };

  it('takes the disk that one of them has signed, and leaves out the others, each with its code; Docker starts', async () => {
    await isOurs();
    const { state, findings } = await agentStatus(guest);
    assert.equal(state, 'degraded');
    assert.deepEqual(findings.map(({ code, label }) => `${label ?? ''} ${code}`).toSorted(), [
      'dpl-nobody DISK_UNSIGNED',
      'dpl-theirs SIGNATURE_UNTRUSTED',
    ]);
    const said = await journal();
    for (const code of ['DISK_UNSIGNED', 'SIGNATURE_UNTRUSTED'])
      assert.match(said, new RegExp(`^PRELOADER_CODE=${code}$`, 'm'));
    assert.equal(await ok(guest, "systemctl list-units --failed --no-legend 'docker*'"), '');
  });

  for (const [what, value] of [
    ['is no key', '["ssh-ed25519 AAAA release@example"]'],
    ['is of another kind', '["ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== x"]'],
    ['is an empty list', '[]'],
    ['is no list', '"trust everybody"'],
  ] as const)
    it(`takes no disk, and says why, where a value of them ${what}`, async () => {
      await ok(guest, `echo '{ "trustedKeys": ${value} }' > ${configFile}`);
      assert.match(await fails(guest, 'docker-preloader apply'), /config\.json: `trustedKeys/);
      // What is running goes on.
      await isOurs();
    });

  it('takes no disk at a boot with a wrong value; Docker starts, and with the strict drop-in does not', async () => {
    await guest.reboot();
    assert.equal(await isDockerActive(), true);
    assert.equal(await mounts(), '');
    await fails(guest, 'docker run --rm --network none ours:1 true');
    const { state, findings } = await agentStatus(guest);
    assert.deepEqual([state, findings.map(({ code }) => code)], ['failed', ['CONFIG_INVALID']]);
    assert.match(await journal(), /^PRELOADER_CODE=CONFIG_INVALID$/m);

    await ok(guest, strict);
    await fails(guest, 'systemctl stop docker.socket docker; systemctl start docker');
    assert.equal(await isDockerActive(), false);
    assert.equal(await mounts(), '');
  });

  it('has the images again with the right value', async () => {
    await ok(guest, `echo '{ "trustedKeys": ["${trusted}"] }' > ${configFile}`);
    await ok(guest, 'systemctl reset-failed docker.service docker.socket; systemctl restart docker');
    await isOurs();
    await guest.poweroff();
  });
});
