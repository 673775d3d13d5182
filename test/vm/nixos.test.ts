import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, until } from '../support/guest.ts';
import { agentStatus, dockerImages, nameInContainer } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { type Machine, nixosPlace, type NixosPlace, unpackedRelease } from '../support/nixos.ts';
import { makeVirtualMachine, type VirtualMachine } from '../support/qemu.ts';
import { torture } from '../support/size.ts';
import { tempTree } from '../support/temp-tree.ts';

const suite = chosenSuite('trixie');

/** What nixpkgs tested in 2018, two images on a machine with Docker, and one that kubelet would import. */
const CONFIGURATION = `
  virtualisation.docker.enable = true;
  virtualisation.docker.daemon.settings = { bridge = "none"; iptables = false; };
  virtualisation.dockerPreloader = {
    images = [ (pkgs.image "one") (pkgs.image "two") ];
    required = [ config.virtualisation.dockerPreloader.label ];
    strict = true;
    settings.deviceTimeoutSec = 200;
  };
  services.kubernetes.kubelet.enable = true;
`;

describe(`a machine that is configured by the NixOS module, as far as Debian ${suite} goes`, () => {
  let place: NixosPlace;
  let machine: Machine;
  let vm: VirtualMachine;

  before(async () => {
    place = await nixosPlace(suite, ['one', 'two', 'pause']);
    const { nix } = place;
    const module = path.join(await unpackedRelease(), 'share/docker-preloader/nixos/module.nix');
    machine = (await nix.evaluate(place.expression([CONFIGURATION], 'seen machine', { module }))) as Machine;
    assert.deepEqual([machine.failed, machine.warnings], [[], []]);
    const config = 'docker-preloader/config.json';
    const [program, file, docker] = await nix.build(
      place.expression(
        [CONFIGURATION],
        `with machine.config; [ virtualisation.dockerPreloader.package environment.etc."${config}".source virtualisation.docker.package virtualisation.dockerPreloader.disk ]`,
        { module },
      ),
    );
    const needed = await nix.closure([program, file, docker].map((one) => one ?? assert.fail()));
    const { path: folder } = await tempTree('dpl-nixos-vm');
    const archive = path.join(folder, 'store.tar');
    await execa('tar', [
      '-cf',
      archive,
      '-C',
      path.dirname(path.dirname(nix.store)),
      ...needed.map((one) => one.slice(1)),
    ]);

    // What NixOS makes of it: units are links into the store, and what is said of them lies beside them.
    const units = '/etc/systemd/system';
    const links = Object.entries(machine.units).flatMap(([name, { wantedBy }]) =>
      wantedBy.map((other) => `mkdir -p ${units}/${other}.wants && ln -sf ../${name} ${units}/${other}.wants/${name}`),
    );
    vm = await makeVirtualMachine({
      suite,
      files: {
        '/root/store.tar': { copyOf: archive },
        ...Object.fromEntries(
          Object.entries(machine.units)
            .filter(([, { overrides }]) => overrides !== '')
            .map(([name, { overrides }]) => [`${units}/${name}.d/overrides.conf`, overrides]),
        ),
      },
      setup: [
        'tar -xf /root/store.tar -C / && rm /root/store.tar',
        `ln -s ${program}/lib/systemd/system/* ${units}/`,
        `ln -s ${program}/bin/docker-preloader /usr/local/bin/`,
        `mkdir /etc/docker-preloader && ln -s ${file} /etc/${config}`,
        ...links,
      ].join('\n'),
    });
  });
  after(cleanUpAll);

  it('has its images before Docker starts, runs them, and has those of kubelet in containerd', async () => {
    const words = (machine.qemu ?? []).join(' ').replaceAll('/nix/store', place.nix.store).split(' ');
    await vm.boot([], { args: words });
    await until(vm, 'systemctl is-active docker', 240);
    assert.deepEqual(await dockerImages(vm), ['one:1', 'pause:1', 'two:1']);
    for (const image of ['one:1', 'two:1']) assert.equal(await nameInContainer(vm, image), image);
    assert.deepEqual(await agentStatus(vm).then(({ state, findings }) => [state, findings]), ['ok', []]);
    assert.equal(
      await ok(
        vm,
        `tr '\\0' '\\n' < /proc/$(systemctl show docker --property=MainPID --value)/cmdline | sed -n 's/^--config-file=//p'`,
      ),
      (JSON.parse(machine.etc['docker-preloader/config.json'] ?? '') as { dockerConfig: string }).dockerConfig,
    );
    await until(vm, 'systemctl is-active containerd && ! systemctl is-active docker-preloader-containerd', 60);
    assert.equal(
      await ok(vm, "ctr --namespace k8s.io images list --quiet | grep ':1$' | sort"),
      ['one', 'pause', 'two'].map((name) => `docker.io/library/${name}:1`).join('\n'),
    );
    // These take many seconds where machines are emulated.
    if (torture) {
      assert.equal(
        await ok(vm, 'ctr --namespace k8s.io run --rm docker.io/library/pause:1 pause cat /name', 240),
        'pause:1',
      );
      const { faults } = JSON.parse(await ok(vm, 'docker-preloader boot-order --json', 240)) as { faults: unknown };
      assert.deepEqual(faults, []);
    }
    await vm.poweroff();
  });
});
