import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, until } from '../support/guest.ts';
import { type GuestDisks, guestDisks } from '../support/guest-disks.ts';
import { agentStatus, dockerImages, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { makeVirtualMachine, type Outside, type VirtualDisk, type VirtualMachine } from '../support/qemu.ts';
import { torture } from '../support/size.ts';

const suite = chosenSuite('trixie');
const credentials = '/run/credentials/@system';
const kernel = "the kernel's command line";

type Values = Readonly<Record<string, { readonly value: unknown; readonly source: string | null }>>;

describe(`virtual machines with Debian ${suite}, all of one image, that are configured from outside`, () => {
  let disks: GuestDisks;
  let machines: readonly VirtualMachine[];
  before(async () => {
    disks = await guestDisks();
    const { files, setup } = preloadedGuest();
    const { '/etc/docker-preloader/config.json': _, ...withoutConfig } = files ?? {};
    const content = { files: withoutConfig, ...(setup === undefined ? {} : { setup }) };
    machines = [await makeVirtualMachine({ suite, ...content }), await makeVirtualMachine({ suite, ...content })];
  });
  after(cleanUpAll);

  const machine = (index: number): VirtualMachine => machines[index] ?? assert.fail();
  const both = (): readonly VirtualDisk[] =>
    ['dpl-a', 'dpl-b'].map((label) => ({ id: label, file: disks(label).qcow2 }));
  const boot = async (vm: VirtualMachine, outside: Outside): Promise<void> => {
    await vm.boot(both(), outside);
    await until(vm, 'systemctl is-active docker', 240);
  };
  const saidIn = async (vm: VirtualMachine): Promise<Readonly<Record<string, unknown>>> => {
    const values = JSON.parse(await ok(vm, 'docker-preloader config --json')) as Values;
    return Object.fromEntries(
      Object.entries(values).flatMap(([key, { value, source }]) => (source === null ? [] : [[key, [value, source]]])),
    );
  };

  it('have different disks and options, and nothing of that in the image', async () => {
    await Promise.all([
      boot(machine(0), {
        smbios: {
          'docker-preloader.config': '{"labels": ["dpl-a", "dpl-c"], "deviceTimeoutSec": 1, "readAheadMb": 3}',
        },
        commandLine: ['docker_preloader.readAheadMb=0'],
      }),
      boot(machine(1), {
        fwCfg: { 'docker-preloader.labels': 'dpl-b' },
        commandLine: [
          'systemd.set_credential=docker-preloader.required:dpl-b',
          'docker_preloader.removedImages=respect',
        ],
      }),
    ]);
    assert.deepEqual(await saidIn(machine(0)), {
      labels: [['dpl-a', 'dpl-c'], `${credentials}/docker-preloader.config`],
      deviceTimeoutSec: [1, `${credentials}/docker-preloader.config`],
      readAheadMb: [0, kernel],
    });
    assert.deepEqual(await saidIn(machine(1)), {
      labels: [['dpl-b'], `${credentials}/docker-preloader.labels`],
      required: [['dpl-b'], `${credentials}/docker-preloader.required`],
      removedImages: ['respect', kernel],
    });
    for (const [index, label] of ['dpl-a', 'dpl-b'].entries()) {
      assert.deepEqual(await dockerImages(machine(index)), [disks(label).image]);
      await ok(machine(index), 'test ! -e /etc/docker-preloader/config.json');
      const { faults } = JSON.parse(await ok(machine(index), 'docker-preloader boot-order --json', 240)) as {
        faults: readonly { readonly code: string }[];
      };
      // A disk is required, and this drop-in lets Docker start without it.
      assert.deepEqual(
        faults.map(({ code }) => code),
        label === 'dpl-b' ? ['NOT_STRICT'] : [],
      );
    }
    // A container is not told what the host is told.
    assert.equal(
      await ok(
        machine(1),
        `docker run --rm --network none ${disks('dpl-b').image} cat /proc/cmdline | grep -c respect`,
      ),
      '1',
    );
  });

  // Each boot is half a minute where machines are emulated.
  if (torture)
    it('take no disk where something is wrong, and say where; Docker starts, or with the strict drop-in does not', async () => {
      const vm = machine(0);
      await vm.poweroff();
      await boot(vm, { smbios: { 'docker-preloader.labels': 'dpl-a', 'docker-preloader.required': 'dpl a' } });
      const { state, findings } = await agentStatus(vm);
      assert.equal(state, 'failed');
      assert.deepEqual(
        findings.map(({ code, message }) => [code, message.split(', ')[0]]),
        [['CONFIG_INVALID', `${credentials}/docker-preloader.required: \`required.0\`: expected a label or glob`]],
      );
      assert.equal(
        await ok(vm, 'findmnt --noheadings --types ext4,erofs --output TARGET | grep -c preloader || true'),
        '0',
      );
      await ok(
        vm,
        'install -D -m 644 /usr/share/docker-preloader/docker.service.d-strict.conf /etc/systemd/system/docker.service.d/50-docker-preloader.conf && systemctl daemon-reload',
      );
      const { code } = await vm.run('systemctl stop docker.socket docker; systemctl start docker', 240);
      assert.notEqual(code, 0);
      assert.match(
        await ok(vm, 'journalctl --unit=docker --no-pager'),
        /docker-preloader\.required: `required\.0`: expected/,
      );
    });
});
