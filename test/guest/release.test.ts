import assert from 'node:assert/strict';
import { globSync, lstatSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { VERSION } from '../../agent/version.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { fails, ok, unitProperties, until } from '../support/guest.ts';
import { type GuestDisk, guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, nameInContainer } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';
import { releaseIn, signingKeyIn } from '../support/release.ts';
import { tempTree } from '../support/temp-tree.ts';

const suite = chosenSuite('trixie');
const root = path.resolve(import.meta.dirname, '../..');
/** What changes each time that it is made: gpg's signatures have the time in them. */
const signatures = ['SHA256SUMS.asc', 'apt/dists/stable/InRelease', 'apt/dists/stable/Release.gpg'];
let release = '';
let key = '';

before(async () => {
  const { path: folder } = await tempTree();
  release = path.join(folder, 'release');
  key = await signingKeyIn(path.join(folder, 'gnupg'));
  await releaseIn(release, key, ['amd64']);
});
after(cleanUpAll);

describe('a release', () => {
  const base = `docker-preloader_${VERSION}`;
  const run = async (...[command = '', ...args]: readonly string[]): Promise<string> =>
    (await execa(command, args, { cwd: release })).stdout;

  it('has all that the README says, and nothing else', () => {
    assert.deepEqual(filesIn(release), [
      'SHA256SUMS',
      'SHA256SUMS.asc',
      'apt/dists/stable/InRelease',
      'apt/dists/stable/Release',
      'apt/dists/stable/Release.gpg',
      'apt/dists/stable/main/binary-amd64/Packages',
      'apt/dists/stable/main/binary-amd64/Packages.gz',
      'apt/docker-preloader.asc',
      'apt/pool/docker-preloader_0.1.0_amd64.deb',
      `apt/pool/${base}_amd64.deb`,
      `docker-preloader-${VERSION}.tgz`,
      'docker-preloader-sysext.service',
      `${base}.cdx.json`,
      `${base}_amd64.deb`,
      `${base}_amd64.sysext.raw`,
      `${base}_amd64.tar.gz`,
    ]);
  });

  it('has sums that are right, and signatures by the key that it hands out', async () => {
    await run('sha256sum', '--check', '--quiet', '--strict', 'SHA256SUMS');
    const listed = (await run('cut', '-c67-', 'SHA256SUMS')).split('\n');
    assert.deepEqual(
      listed,
      filesIn(release).filter((name) => !name.startsWith('apt/') && !name.startsWith('SHA256SUMS')),
    );
    const keyring = path.join(path.dirname(release), 'keyring.gpg');
    await run('gpg', '--batch', `--output=${keyring}`, '--dearmor', 'apt/docker-preloader.asc');
    await run('gpgv', `--keyring=${keyring}`, 'SHA256SUMS.asc', 'SHA256SUMS');
    await run('gpgv', `--keyring=${keyring}`, 'apt/dists/stable/InRelease');
    await run('gpgv', `--keyring=${keyring}`, 'apt/dists/stable/Release.gpg', 'apt/dists/stable/Release');
  });

  it('has the same bytes when it is made again, but for the signatures', async () => {
    const again = path.join(path.dirname(release), 'again');
    await releaseIn(again, key, ['amd64']);
    assert.deepEqual(filesIn(again), filesIn(release));
    for (const name of filesIn(release)) {
      const same = readFileSync(path.join(again, name)).equals(readFileSync(path.join(release, name)));
      assert.ok(same || signatures.includes(name), name);
    }
    assert.match(
      readFileSync(path.join(release, 'apt/dists/stable/Release'), 'utf8'),
      /^Date: Tue, 14 Nov 2023 22:13:20 \+0000$/m,
    );
  });

  it('is not begun without a key, or with another one than gpg has, and says so in one line', async () => {
    for (const [args, said] of [
      [
        [],
        'expected --key, the OpenPGP key that signs a release, found none: npm run release -- --key FINGERPRINT, with GNUPGHOME where gpg has it',
      ],
      [
        ['--key', 'nobody'],
        "expected a secret OpenPGP key 'nobody', found none: `gpg --list-secret-keys` shows those that are there, GNUPGHOME says where",
      ],
      [['--sign', 'it'], "expected --key KEY, and perhaps --earlier FOLDER, found '--sign it'"],
      [['--key', key, '--earlier', '/nowhere'], 'expected .deb files of earlier releases in /nowhere, found none'],
    ] as const) {
      const { exitCode, stdout, stderr } = await execa(
        process.execPath,
        [path.join(root, 'agent/packaging/release.ts'), ...args],
        { reject: false },
      );
      assert.deepEqual([exitCode, stdout, stderr], [1, '', `release: ${said}`]);
    }
  });

  it('has the tree of the package in the system extension, and what systemd wants there', async () => {
    const unpacked = path.join(path.dirname(release), 'extension');
    await run('unsquashfs', '-quiet', '-no-progress', '-dest', unpacked, `${base}_amd64.sysext.raw`);
    const tarball = (await run('tar', '-tzf', `${base}_amd64.tar.gz`))
      .split('\n')
      .filter((name) => !name.endsWith('/'));
    assert.deepEqual(
      filesIn(unpacked),
      [
        ...tarball.map((name) => name.replace('./', '')),
        'usr/lib/extension-release.d/extension-release.docker-preloader',
      ].toSorted(),
    );
    const wanted = path.join(unpacked, 'usr/lib/systemd/system/docker.service.wants/docker-preloader.service');
    assert.equal(realpathSync(wanted), path.join(unpacked, 'usr/lib/systemd/system/docker-preloader.service'));
    const owners = await run('unsquashfs', '-lln', `${base}_amd64.sysext.raw`);
    assert.deepEqual(
      owners
        .split('\n')
        .filter((line) => line !== '' && !/^[dl-][rwx-]{9} 0\/0 .* 2023-11-14 22:13 squashfs-root/.test(line)),
      [],
    );
  });
});

/** Regular files, sorted. */
function filesIn(folder: string): string[] {
  return globSync('**', { cwd: folder })
    .filter((name) => lstatSync(path.join(folder, name)).isFile())
    .toSorted();
}

describe(`the apt repository of a release, in a guest of Debian ${suite}`, () => {
  let guest: Container;
  let disk: GuestDisk;

  const apt = (words: string): Promise<string> =>
    ok(guest, `DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends ${words} 2>&1`);
  const installed = (): Promise<string> =>
    ok(guest, "dpkg-query -W -f '${Version} ${db:Status-Status}' docker-preloader");
  /** What must not change while a package comes or goes: dockerd, the agent, and a container. */
  const running = async (): Promise<unknown> => [
    await unitProperties(guest, 'docker.service', ['MainPID', 'InvocationID']),
    await unitProperties(guest, 'docker-preloader.service', ['MainPID', 'InvocationID', 'ActiveState']),
    await ok(guest, 'docker inspect --format "{{.State.Pid}} {{.State.StartedAt}}" steady'),
  ];

  before(async () => {
    disk = (await guestDisks())('dpl-a');
    const { device } = await attach(disk.raw);
    const archive = path.join(path.dirname(release), 'apt.tar');
    await execa('tar', ['--create', `--file=${archive}`, 'apt'], { cwd: release });
    guest = await bootContainer({
      suite,
      devices: [device],
      files: {
        '/srv/apt.tar': { copyOf: archive },
        '/etc/apt/sources.list': 'deb [signed-by=/srv/apt/docker-preloader.asc] file:/srv/apt stable main\n',
      },
      setup: 'rm -f /etc/apt/sources.list.d/*\ntar --extract --file=/srv/apt.tar --directory=/srv\n',
    });
    // The user's own image, made before the package came.
    await ok(guest, 'mkdir -p /tmp/own && cp /bin/busybox /tmp/own && tar -C /tmp/own -c . | docker import - own:1');
  });

  it('is signed: apt takes it, and does not when a byte of its index is another', async () => {
    await apt('update');
    assert.match(
      await ok(guest, 'apt-cache policy docker-preloader'),
      new RegExp(`^ {5}${VERSION} .*\\n.*\\n {5}0\\.1\\.0 `, 'm'),
    );
    await ok(
      guest,
      'cp -a /srv/apt/dists /srv/dists && sed -i "s/^Label: .*/Label: another/" /srv/apt/dists/stable/*Release',
    );
    assert.match(await fails(guest, 'apt-get -o APT::Update::Error-Mode=any update 2>&1'), /signature|InRelease/i);
    await ok(guest, 'rm -r /srv/apt/dists && mv /srv/dists /srv/apt/dists');
    await apt('update');
  });

  it('installs 0.1.0 as it was, which fills the store', async () => {
    await apt('install docker-preloader=0.1.0');
    await ok(guest, 'systemctl enable docker-preloader');
    await guest.reboot();
    assert.deepEqual(await dockerImages(guest), [disk.image, 'own:1']);
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
    assert.equal((await agentStatus(guest)).state, 'ok');
  });

  it('upgrades it while Docker runs: nothing restarts, and all images stay', async () => {
    await ok(guest, `docker run --detach --stop-signal KILL --name steady --network none ${disk.image} sleep 100000`);
    const before = await running();
    await apt('install --only-upgrade docker-preloader');
    assert.equal(await installed(), `${VERSION} installed`);
    assert.deepEqual(await running(), before);
    assert.deepEqual(await dockerImages(guest), [disk.image, 'own:1']);
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
    assert.equal(await ok(guest, 'docker exec steady cat /name'), disk.image);

    await guest.reboot();
    assert.deepEqual(await dockerImages(guest), [disk.image, 'own:1']);
    assert.equal((await agentStatus(guest)).state, 'ok');
    assert.equal(await ok(guest, 'docker-preloader verify --deep | cut -d: -f1'), 'ok');
    assert.equal(await ok(guest, 'systemctl --failed --no-legend; docker-preloader boot-order --check'), '');
    await ok(guest, 'docker start steady');
    assert.equal(await ok(guest, 'docker exec steady cat /name'), disk.image);
  });

  it('goes back to 0.1.0, which says LEDGER_NEWER of the new store and leaves all of it alone', async () => {
    const before = await running();
    await apt('install --allow-downgrades docker-preloader=0.1.0');
    assert.deepEqual(await running(), before);
    const files =
      'cat /var/lib/docker/docker-preloader/ledger.json /var/lib/docker/image/overlay2/repositories.json | sha256sum';
    await ok(guest, 'docker kill steady');
    const store = await ok(guest, files);
    await guest.reboot();
    const status = await agentStatus(guest);
    assert.deepEqual([status.state, status.findings.map(({ code }) => code)], ['degraded', ['LEDGER_NEWER']]);
    assert.equal(await ok(guest, files), store);
    assert.deepEqual(await dockerImages(guest), [disk.image, 'own:1']);
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
  });

  it('goes back to 0.1.0 after unlink, which then fills the store as ever', async () => {
    await apt(`install docker-preloader=${VERSION}`);
    await ok(guest, 'docker rm --force steady');
    await ok(guest, 'systemctl stop docker.socket docker.service && docker-preloader unlink');
    await apt('install --allow-downgrades docker-preloader=0.1.0');
    await guest.reboot();
    assert.equal((await agentStatus(guest)).state, 'ok');
    assert.deepEqual(await dockerImages(guest), [disk.image, 'own:1']);
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
  });

  it('removes the new one, and with it all that it put into the store', async () => {
    await apt(`install docker-preloader=${VERSION}`);
    await ok(guest, 'systemctl restart docker');
    await fails(guest, 'apt-get -y remove docker-preloader');
    assert.equal(await installed(), `${VERSION} installed`);
    await ok(guest, 'systemctl stop docker.socket docker.service');
    // Copied when that was installed, and left there by the upgrade: without the program, Docker would not start.
    await ok(
      guest,
      `mkdir -p /etc/systemd/system/docker.service.d
      dpkg-deb --fsys-tarfile /srv/apt/pool/docker-preloader_0.1.0_amd64.deb |
        tar -xO ./usr/share/docker-preloader/docker.service.d-strict.conf \
        > /etc/systemd/system/docker.service.d/50-docker-preloader.conf
      ! cmp -s /etc/systemd/system/docker.service.d/50-docker-preloader.conf \
        /usr/share/docker-preloader/docker.service.d-strict.conf`,
    );
    await apt('remove docker-preloader');
    await ok(guest, 'systemctl start docker');
    await until(guest, 'docker info');
    assert.deepEqual(await dockerImages(guest), ['own:1']);
    assert.equal(await ok(guest, 'docker run --rm --network none own:1 /busybox echo works'), 'works');
    assert.equal(await ok(guest, 'find /var/lib/docker/overlay2 -xtype l'), '');
    await guest.poweroff();
  });
});

describe(`the system extension of a release, in a guest of Debian ${suite}`, () => {
  /** systemd-sysext takes a free loop device, of which a container has no nodes by itself. */
  const loopNodes = [
    'c! /dev/loop-control 0660 root root - 10:237',
    ...Array.from({ length: 256 }, (_, n) => `b! /dev/loop${n} 0660 root root - 7:${n}`),
  ];

  it('is merged at boot, and Docker starts after the agent, with the images', async () => {
    // With the nodes of all loop devices it sees the disks of guests beside it, too: none of them has this label.
    const disk = (await guestDisks())('dpl-28');
    const { device } = await attach(disk.raw);
    const guest = await bootContainer({
      suite,
      devices: [device],
      files: {
        '/var/lib/extensions/docker-preloader.raw': {
          copyOf: path.join(release, `docker-preloader_${VERSION}_amd64.sysext.raw`),
        },
        '/etc/systemd/system/docker-preloader-sysext.service': {
          copyOf: path.join(release, 'docker-preloader-sysext.service'),
        },
        '/etc/docker-preloader/config.json': JSON.stringify({ labels: [disk.label] }),
        '/etc/tmpfiles.d/loop.conf': `${loopNodes.join('\n')}\n`,
      },
      setup: 'systemctl enable systemd-sysext docker-preloader-sysext\n',
    });
    const verify = 'systemd-analyze --man=no verify docker-preloader-sysext.service';
    assert.deepEqual(await guest.run(verify), { code: 0, stdout: '', stderr: '' });
    assert.match(await ok(guest, 'systemd-sysext status'), /^\/usr +docker-preloader /m);
    assert.equal(await ok(guest, 'systemctl --failed --no-legend; docker-preloader boot-order --check'), '');
    const { state, findings } = await agentStatus(guest);
    assert.deepEqual([state, findings], ['ok', []]);
    assert.deepEqual(await dockerImages(guest), [disk.image]);
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
    assert.match(
      await ok(guest, 'journalctl --boot --catalog --unit=docker-preloader'),
      /Defined-By: docker-preloader/,
    );

    // Without its unit, the agent does not start before Docker, and that is told.
    await ok(guest, 'systemctl disable docker-preloader-sysext');
    await guest.reboot();
    await fails(guest, 'docker-preloader boot-order --check');

    // Without it, the guest is as before, and Docker starts.
    await ok(guest, 'systemctl stop docker.socket docker.service docker-preloader.socket docker-preloader.service');
    await ok(guest, 'docker-preloader unlink && rm /var/lib/extensions/docker-preloader.raw');
    await guest.reboot();
    await fails(guest, 'command -v docker-preloader');
    assert.deepEqual(await dockerImages(guest), []);
    assert.equal(await ok(guest, 'systemctl --failed --no-legend'), '');
    await guest.poweroff();
  });
});
