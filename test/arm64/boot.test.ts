import assert from 'node:assert/strict';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { architectureOf } from '../../agent/packaging/architecture.ts';
import { crossPackages } from '../../agent/packaging/small/build-tools.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages, fetchDebianPackage } from '../support/debian-packages.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { runInSmallMachine } from '../support/small-machine.ts';
import { tempTree } from '../support/temp-tree.ts';
import { arm64 } from './arm64-package.ts';

/** Of Debian 13: dockerd 26.1, and what it is linked to. */
const DOCKER_PACKAGES = [
  'docker.io',
  'docker-cli',
  'containerd',
  'runc',
  'libc6',
  'libcap2',
  'libseccomp2',
  'libsystemd0',
];
const DOCKER_PROGRAMS = ['sbin/dockerd', 'bin/docker', 'bin/containerd', 'bin/containerd-shim-runc-v2', 'sbin/runc'];

const LIBRARIES = ['libc.so.6', 'libm.so.6', 'libpthread.so.0', 'libdl.so.2'];
const LOADER = 'ld-linux-aarch64.so.1';

describe('a virtual machine for arm64', () => {
  let folder: string;
  before(async () => {
    await ensureDebianPackages([...crossPackages(architectureOf('arm64')), 'e2fsprogs'], { install: true });
    folder = (await tempTree('dpl-arm64-vm')).path;
  });
  after(() => cleanUpAll());

  for (const [kernel, pageKiB] of [
    ['arm64', 4],
    ['arm64-16k', 16],
  ] as const)
    it(`fills the store from its disks, and both executables run, with pages of ${pageKiB} KiB`, async () => {
      const at = (name: string): string => path.join(folder, `${kernel}-${name}`);
      const archive = (name: string): Promise<Uint8Array> =>
        dockerArchive([
          { tags: [`${name}:1`], layers: [[{ name: 'base', content: 'shared' }], [{ name, content: name }]] },
        ]);
      writeFileSync(at('app.tar'), await archive('made'));
      const config = {
        labels: ['vm-ext4', 'vm-erofs'],
        dataRoot: '/var/docker',
        dockerConfig: '/none.json',
        store: 'overlay2',
        deviceTimeoutSec: 20,
      };
      writeFileSync(at('config.json'), JSON.stringify(config));
      const library = `/usr/${architectureOf('arm64').gnuName}/lib`;
      const printed = await runInSmallMachine({
        suite: 'trixie',
        architecture: 'arm64',
        kernel,
        files: {
          '/usr/bin/docker-preloader': arm64.small,
          '/usr/lib/docker-preloader/docker-preloader': arm64.whole,
          [`/lib/${LOADER}`]: path.join(library, LOADER),
          ...Object.fromEntries(LIBRARIES.map((name) => [`/lib/aarch64-linux-gnu/${name}`, path.join(library, name)])),
          '/config.json': at('config.json'),
          '/app.tar': at('app.tar'),
        },
        shares: [],
        disks: [
          await makeDisk(at('one.raw'), await archive('one'), '--label', 'vm-ext4', '--filesystem', 'ext4'),
          await makeDisk(at('two.raw'), await archive('two'), '--label', 'vm-erofs', '--filesystem', 'erofs'),
        ],
        script: `
          export PATH=/bin:/usr/bin
          uname -m
          grep -m1 KernelPageSize /proc/self/smaps
          docker-preloader --version; echo "version $?"
          docker-preloader apply --config /config.json; echo "applied $?"
          docker-preloader apply --config /config.json > /run/again; echo "again $? $(tail -1 /run/again)"
          docker-preloader verify --deep --config /config.json; echo "verified $?"
          docker-preloader run --config /config.json > /run/log 2>&1 &
          for each in $(seq 300); do [ -S /run/docker-preloader/status.sock ] && break; sleep 0.1; done
          docker-preloader status; echo "asked $?"
          kill $!; wait $!; echo "ended $?"; cat /run/log
          docker-preloader build /app.tar -o /var/made.raw --format raw --label made --quiet; echo "built $?"
          docker-preloader inspect --deep /var/made.raw; echo "inspected $?"
          docker-preloader record --config /config.json > /run/recorded; echo "recorded $?"
          docker-preloader unlink --config /config.json; echo "unlinked $?"
        `,
      });
      const found = (pattern: RegExp): void => assert.match(printed, pattern);
      found(/^aarch64$/m);
      found(new RegExp(`^KernelPageSize: +${pageKiB} kB$`, 'm'));
      for (const what of [
        'version',
        'applied',
        'verified',
        'asked',
        'ended',
        'built',
        'inspected',
        'recorded',
        'unlinked',
      ])
        found(new RegExp(`^${what} 0$`, 'm'));
      found(/^ok: 2 disks, 2 images, 3 layers/m);
      found(/^again 0 ok: 2 disks, 2 images, 3 layers, nothing to change/m);
      for (const name of ['one:1', 'two:1', 'made:1']) found(new RegExp(`\\b${name}\\b`));
    });

  it('has a dockerd run what is on a disk', async () => {
    const at = (name: string): string => path.join(folder, `docker-${name}`);
    const busybox = await fetchDebianPackage('bookworm', ['busybox-static'], 'arm64');
    const sh = { name: 'bin/sh', content: readFileSync(path.join(busybox, 'bin/busybox')), mode: 0o755 };
    const archive = await dockerArchive([
      {
        tags: ['app:1'],
        layers: [[{ name: 'bin' }, sh], [{ name: 'name', content: 'of the disk' }]],
        architecture: 'arm64',
      },
    ]);
    writeFileSync(at('config.json'), JSON.stringify({ labels: ['vm-docker'], deviceTimeoutSec: 20 }));
    const packages = await fetchDebianPackage('trixie', DOCKER_PACKAGES, 'arm64');
    const libraries = path.join(packages, 'usr/lib/aarch64-linux-gnu');
    const printed = await runInSmallMachine({
      suite: 'trixie',
      architecture: 'arm64',
      files: {
        '/usr/bin/docker-preloader': arm64.small,
        '/usr/lib/docker-preloader/docker-preloader': arm64.whole,
        ...Object.fromEntries(
          DOCKER_PROGRAMS.map((name) => [`/usr/bin/${path.basename(name)}`, path.join(packages, 'usr', name)]),
        ),
        [`/lib/${LOADER}`]: realpathSync(path.join(libraries, LOADER)),
        ...Object.fromEntries(
          [...LIBRARIES, 'libcap.so.2', 'libseccomp.so.2', 'libsystemd.so.0'].map((name) => [
            `/lib/aarch64-linux-gnu/${name}`,
            realpathSync(path.join(libraries, name)),
          ]),
        ),
        '/config.json': at('config.json'),
      },
      shares: [],
      disks: [await makeDisk(at('disk.raw'), archive, '--label', 'vm-docker')],
      // Its root is in memory, from which nothing can be pivoted: runc is to do without.
      script: `
        export PATH=/bin:/usr/bin DOCKER_RAMDISK=true
        mount -t cgroup2 none /sys/fs/cgroup
        docker-preloader apply --config /config.json; echo "applied $?"
        dockerd --bridge none --iptables=false --ip6tables=false --userland-proxy=false > /run/dockerd.log 2>&1 &
        for each in $(seq 200); do [ -S /var/run/docker.sock ] && break; sleep 0.4; done
        docker images --format '{{.Repository}}:{{.Tag}}'
        docker run --rm --network none app:1 sh -c 'read line < /name; echo "$line"; echo mine > /mine'; echo "ran $?"
        docker run --name mine --network none app:1 sh -c 'echo mine > /mine'; docker commit mine kept:1; echo "committed $?"
        docker-preloader verify --deep --config /config.json; echo "verified $?"
        docker info --format '{{.Architecture}} {{.Driver}} {{.ServerVersion}}'
        tail -3 /run/dockerd.log
      `,
    });
    const found = (pattern: RegExp): void => assert.match(printed, pattern);
    found(/^aarch64 overlay2 26\.1/m);
    found(/^app:1$/m);
    found(/^of the disk$/m);
    for (const what of ['applied', 'ran', 'committed', 'verified']) found(new RegExp(`^${what} 0$`, 'm'));
  });
});
