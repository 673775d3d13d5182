import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { architectureOf } from '../../agent/packaging/architecture.ts';
import { crossPackages } from '../../agent/packaging/small/build-tools.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { runInSmallMachine } from '../support/small-machine.ts';
import { tempTree } from '../support/temp-tree.ts';
import { arm64 } from './arm64-package.ts';

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
});
