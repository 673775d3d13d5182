import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { parseConfig } from '../../agent/config/parse-config.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type Machine, type MachineOptions, nixosPlace, type NixosPlace } from '../support/nixos.ts';

const CONFIG = 'etc.docker-preloader/config.json';
/** Nothing here runs the program, so any does for it. */
const PROGRAM = 'virtualisation.dockerPreloader.package = pkgs.docker;';
const DOCKER = 'virtualisation.docker.enable = true;';
const IMAGES = `${PROGRAM} virtualisation.docker.enable = true; virtualisation.dockerPreloader.images = with pkgs; [ (image "one") (image "two") ];`;
const KUBELET = `${PROGRAM} services.kubernetes.kubelet = { enable = true; seedDockerImages = [ (pkgs.image "one") ]; };`;

/** What can be seen of a machine, by names; configuration files as what they say. */
type Seen = Readonly<Record<string, unknown>>;

function seenOf({ etc, units, disk, ...others }: Machine): Seen {
  // Names of the store have digests in them, and so the label has.
  const plain = (text: string): string =>
    text
      .replaceAll(/\/nix\/store\/[0-9a-z]{32}-/g, 'STORE/')
      .replaceAll(/"\/[0-9a-z]{52}"/g, '"OUT"')
      .replaceAll(/dpl-[0-9a-f]{11}\b/g, 'LABEL');
  const named = (kind: string, values: Readonly<Record<string, unknown>>): [string, unknown][] =>
    Object.entries(values).map(([name, value]) => [`${kind}.${name}`, value]);
  const isArchive = (word: string): boolean => word.startsWith('/nix/store/');
  // They are sorted by the digests in their names.
  const sorted = disk && {
    ...disk,
    args: disk.args.filter((word) => !isArchive(word)),
    archives: disk.args.filter(isArchive).map(plain).toSorted(),
  };
  const files = Object.fromEntries(Object.entries(etc).map(([name, text]) => [name, JSON.parse(text) as unknown]));
  return JSON.parse(
    plain(
      JSON.stringify(
        Object.fromEntries([
          ...Object.entries({ ...others, disk: sorted }),
          ...named('etc', files),
          ...named('units', units),
        ]),
      ),
    ),
  ) as Seen;
}

/** What the second has and the first has not, or otherwise; null where only the first has it. */
const changes = (before: Seen, after: Seen): Seen =>
  Object.fromEntries(
    [...new Set([...Object.keys(before), ...Object.keys(after)])]
      .filter((name) => !isDeepStrictEqual(before[name], after[name]))
      .map((name) => [name, after[name] ?? null]),
  );

const unit = (overrides: string, ...wantedBy: readonly string[]): object => ({ wantedBy, preStart: '', overrides });
const DOCKER_UNIT = `[Unit]
After=network.target
After=docker.socket
Requires=docker.socket
[Service]
ExecStart=
ExecStart=STORE/docker/bin/dockerd \\
  --config-file=STORE/daemon.json \\
  
`;
const withoutUs = unit(DOCKER_UNIT, 'multi-user.target');
const docker = (start: string): object =>
  unit(
    `${DOCKER_UNIT}\nExecStartPre=${start}STORE/docker/bin/docker-preloader apply --degraded-ok`,
    'multi-user.target',
  );
const preloader = (dataRoot: string, wantedBy: string): object =>
  unit(`[Unit]\nRequiresMountsFor=${dataRoot}\nX-Restart-Triggers=STORE/etc-config.json`, wantedBy);
const config = {
  labels: ['dpl-*', 'LABEL'],
  required: [],
  store: 'auto',
  namespaces: ['moby'],
  dockerConfig: 'STORE/daemon.json',
};
const args = (archives: readonly string[], filesystem = 'ext4', ...more: readonly string[]): object => ({
  name: 'docker-preloader-images.qcow2',
  builder: 'STORE/docker/bin/docker-preloader',
  args: [
    'build',
    '--quiet',
    '--output',
    'OUT',
    '--format',
    'qcow2',
    '--label',
    'LABEL',
    '--filesystem',
    filesystem,
    ...more,
  ],
  archives,
});
const ONE = 'STORE/docker-image-one.tar.gz';
const TWO = 'STORE/docker-image-two.tar.gz';
const PAUSE = 'STORE/docker-image-pause.tar.gz';
const inQemu = [
  '-blockdev driver=qcow2,node-name=preload-LABEL,read-only=on,file.driver=file,file.read-only=on,file.filename=STORE/docker-preloader-images.qcow2',
  '-device virtio-blk-pci,drive=preload-LABEL,serial=LABEL',
];
const beforeContainerd = { 'units.docker-preloader-before-containerd.target': unit('', 'containerd.service') };

/** What a machine has with our module that it has not without. */
const withModule: readonly (readonly [what: string, without: string, more: string, expected: Seen])[] = [
  ['nothing, where there are no images', DOCKER, '', {}],
  ['nothing, where there are no images, nor for kubelet', KUBELET, '', {}],
  [
    'program, configuration, units and a disk, where there are images',
    DOCKER,
    IMAGES,
    {
      programs: ['STORE/docker'],
      packages: ['STORE/docker', 'STORE/docker'],
      [CONFIG]: config,
      'units.docker-preloader.service': preloader('/var/lib/docker', 'docker.service'),
      'units.docker-preloader.socket': unit('', 'sockets.target'),
      'units.docker.service': docker('-'),
      qemu: inQemu,
      disk: args([ONE, TWO]),
    },
  ],
  [
    'the same without a disk of its own, where it is enabled',
    DOCKER,
    `${PROGRAM} virtualisation.dockerPreloader.enable = true;`,
    {
      programs: ['STORE/docker'],
      packages: ['STORE/docker', 'STORE/docker'],
      [CONFIG]: { ...config, labels: ['dpl-*'] },
      'units.docker-preloader.service': preloader('/var/lib/docker', 'docker.service'),
      'units.docker-preloader.socket': unit('', 'sockets.target'),
      'units.docker.service': docker('-'),
    },
  ],
  [
    'what kubelet would import, in the namespace of Kubernetes, and nothing is left to import',
    KUBELET,
    'virtualisation.dockerPreloader.enable = true;',
    {
      programs: ['STORE/docker'],
      packages: ['STORE/docker'],
      [CONFIG]: { labels: ['dpl-*', 'LABEL'], required: [], store: 'containerd', namespaces: ['k8s.io'] },
      'units.docker-preloader.service': preloader('/var/lib/docker', 'multi-user.target'),
      'units.docker-preloader.socket': unit('', 'sockets.target'),
      'units.docker-preloader-containerd.service': unit('', 'containerd.service', 'kubelet.service'),
      ...beforeContainerd,
      'units.kubelet.service': unit('[Unit]\nAfter=containerd.service', 'kubernetes.target'),
      qemu: inQemu,
      seeds: [],
      disk: args([ONE, PAUSE], 'erofs'),
    },
  ],
];

const preload = (text: string): string => `virtualisation.dockerPreloader.${text};`;
const inConfig = (more: object): Seen => ({ [CONFIG]: { ...config, ...more } });
const containerdToo = {
  'units.docker-preloader-containerd.service': unit('', 'containerd.service', 'docker.service'),
  ...beforeContainerd,
};

/** What changes on a machine with images. */
const withOption: readonly (readonly [more: string, expected: Seen, options?: MachineOptions])[] = [
  [
    preload('enable = false'),
    {
      programs: [],
      packages: ['STORE/docker'],
      [CONFIG]: null,
      'units.docker-preloader.service': null,
      'units.docker-preloader.socket': null,
      'units.docker.service': withoutUs,
      qemu: [],
    },
  ],
  [preload('qcowSize = 1024'), { disk: args([ONE, TWO], 'ext4', '--size', '1024M') }],
  [preload('filesystem = "erofs"'), { disk: args([ONE, TWO], 'erofs') }],
  [preload('labels = [ "mine" "dpl-a" ]'), inConfig({ labels: ['mine', 'dpl-a', 'LABEL'] })],
  [preload('labels = [ config.virtualisation.dockerPreloader.label "mine" ]'), inConfig({ labels: ['LABEL', 'mine'] })],
  [preload('required = [ config.virtualisation.dockerPreloader.label ]'), inConfig({ required: ['LABEL'] })],
  [preload('strict = true'), { 'units.docker.service': docker('') }],
  [preload('store = "overlay2"'), inConfig({ store: 'overlay2' })],
  [preload('store = "both"'), { ...inConfig({ store: 'both' }), ...containerdToo, disk: args([ONE, TWO], 'erofs') }],
  [
    preload('store = "containerd"'),
    { ...inConfig({ store: 'containerd' }), ...containerdToo, disk: args([ONE, TWO], 'erofs') },
  ],
  [
    preload('kubernetes = true'),
    {
      ...inConfig({ namespaces: ['moby', 'k8s.io'] }),
      ...containerdToo,
      'units.docker-preloader-containerd.service': unit('', 'containerd.service', 'docker.service', 'kubelet.service'),
      disk: args([ONE, TWO], 'erofs'),
    },
  ],
  [
    preload('settings = { deviceTimeoutSec = 30; labels = [ "other" ]; }'),
    inConfig({ deviceTimeoutSec: 30, labels: ['other'] }),
  ],
  [
    preload('settings.dataRoot = "/srv/docker"'),
    {
      ...inConfig({ dataRoot: '/srv/docker' }),
      'units.docker-preloader.service': preloader('/srv/docker', 'docker.service'),
    },
  ],
  [
    'virtualisation.docker.daemon.settings.data-root = "/srv/docker";',
    { 'units.docker-preloader.service': preloader('/srv/docker', 'docker.service') },
  ],
  [preload('images = lib.mkForce [ (pkgs.image "two") (pkgs.image "two") ]'), { disk: args([TWO]) }],
  [preload('images = [ (pkgs.streamedImage "two") ]'), { disk: args([ONE, TWO, 'STORE/two.tar']) }],
  ['services.kubernetes.kubelet.seedDockerImages = [ (pkgs.image "pause") ];', { seeds: [PAUSE] }],
  [
    'virtualisation.docker.storageDriver = "overlay";',
    {
      warnings: [
        'virtualisation.dockerPreloader: with the storage driver overlay Docker\'s store is left as it is; set virtualisation.docker.storageDriver to "overlay2".',
      ],
    },
  ],
  ['virtualisation.docker.storageDriver = "overlay2";', {}],
  ['', { qemu: null }, { withQemu: false }],
];

/** A nixpkgs of this machine. */
const nixpkgs = (process.env['NIX_PATH'] ?? '')
  .split(':')
  .flatMap((entry) => /^nixpkgs=(.+)$/.exec(entry)?.[1] ?? [])
  .find((folder) => existsSync(path.join(folder, 'lib/default.nix')));

type Case = readonly [configurations: readonly string[], options?: MachineOptions | undefined];

let place: NixosPlace;
before(async () => {
  place = await nixosPlace('trixie', ['one', 'two', 'pause']);
});
after(cleanUpAll);

for (const [title, lib] of [
  ['with what stands for its lib', undefined],
  ['with lib of nixpkgs', `import ${nixpkgs}/lib`],
] as const)
  describe(
    `the module for NixOS, ${title}`,
    { skip: lib !== undefined && nixpkgs === undefined ? 'NIX_PATH has no nixpkgs' : false },
    () => {
      /** All of them at once. */
      const evaluated = async (cases: readonly Case[]): Promise<readonly Machine[]> =>
        (await place.nix.evaluate(
          `[ ${cases
            .map(
              ([configurations, options]) =>
                `(${place.expression(configurations, 'seen machine', lib === undefined ? options : { lib, ...options })})`,
            )
            .join('\n')} ]`,
        )) as readonly Machine[];

      it('adds what it says, and nothing where there is nothing to do', async () => {
        const none =
          '{ lib, ... }: { options.virtualisation.dockerPreloader = lib.mkOption { default = { }; apply = _: { disk = null; }; }; }';
        const machines = await evaluated(
          withModule.flatMap(([, without, more]): Case[] => [[[without], { module: none }], [[without, more]]]),
        );
        for (const [index, [what, , , expected]] of withModule.entries()) {
          const [without = {}, withIt = {}] = machines.slice(2 * index).map(seenOf);
          assert.deepEqual(changes(without, withIt), expected, what);
        }
      });

      it('has for each option what changes by it, in units, files and the disk', async () => {
        const [first, ...machines] = await evaluated([
          [[IMAGES]],
          ...withOption.map(([more, , options]): Case => [[IMAGES, more], options]),
        ]);
        const base = seenOf(first ?? assert.fail());
        for (const [index, [more, expected]] of withOption.entries())
          assert.deepEqual(changes(base, seenOf(machines[index] ?? assert.fail())), expected, more);
      });

      it('writes configurations that the agent takes', async () => {
        const enabled = preload('enable = true');
        const machines = await evaluated([[[IMAGES]], [[KUBELET, enabled]], [[PROGRAM, enabled]]]);
        const taken = machines.map(({ etc }) => parseConfig(etc['docker-preloader/config.json'] ?? ''));
        assert.deepEqual(
          taken.map(({ store }) => store),
          ['auto', 'containerd', 'auto'],
        );
      });

      it('refuses storage drivers that are not overlay2, unless the images are in containerd', async () => {
        const drivers = ['aufs', 'btrfs', 'devicemapper', 'zfs'];
        const machines = await evaluated(
          drivers.flatMap((driver): Case[] => {
            const set = `virtualisation.docker.storageDriver = "${driver}";`;
            return [
              [[IMAGES, set]],
              [[IMAGES, `virtualisation.docker.daemon.settings.storage-driver = "${driver}";`]],
              [[IMAGES, set, preload('store = "containerd"')]],
              [[DOCKER, PROGRAM, set]],
            ];
          }),
        );
        assert.deepEqual(
          machines.map(({ failed }) => failed),
          drivers.flatMap((driver) => {
            const said = [
              `virtualisation.dockerPreloader: expected the storage driver overlay2, found ${driver}; set virtualisation.docker.storageDriver to "overlay2", or to null.`,
            ];
            return [said, said, [], []];
          }),
        );
      });

      for (const [text, message] of [
        ['images = "one"', /option `virtualisation\.dockerPreloader\.images' is not of type `list of package'/],
        ['qcowSize = "1G"', /option `virtualisation\.dockerPreloader\.qcowSize' is not of type `null or .*integer'/],
        ['store = "zfs"', /option `virtualisation\.dockerPreloader\.store' is not of type `one of /],
        ['filesystem = "xfs"', /option `virtualisation\.dockerPreloader\.filesystem' is not of type `one of /],
        ['label = "mine"', /option `virtualisation\.dockerPreloader\.label' is read-only/],
        ['qcowsize = 1', /option `virtualisation\.dockerPreloader\.qcowsize' does not exist/],
      ] as const)
        it(`refuses ${text}`, () => assert.rejects(evaluated([[[IMAGES, preload(text)]]]), { message }));
    },
  );

const nixos = nixpkgs === undefined ? undefined : path.join(nixpkgs, 'nixos/default.nix');

describe(
  'the module in NixOS itself',
  { skip: nixos !== undefined && existsSync(nixos) ? false : 'NIX_PATH has no NixOS' },
  () => {
    const machine = `(import ${nixos} {
    system = "x86_64-linux";
    configuration = { config, pkgs, ... }: {
      imports = [ ${path.join(import.meta.dirname, '../../units/nixos/module.nix')} ];
      virtualisation.docker.enable = true;
      virtualisation.dockerPreloader.images = with pkgs.dockerTools.examples; [ nix bash ];
      virtualisation.dockerPreloader.package = pkgs.hello;
      system.stateVersion = config.system.nixos.release;
    };
  })`;

    it('has dockerd and us read one file, and gives the disk to a machine that it starts', async () => {
      const { text, start, qemu } = (await place.nix.evaluate(
        `with ${machine}; {
        text = config.environment.etc."docker-preloader/config.json".text;
        start = config.systemd.services.docker.serviceConfig.ExecStart;
        qemu = config.virtualisation.vmVariant.virtualisation.qemu.options;
      }`,
      )) as {
        text: string;
        start: readonly string[];
        qemu: readonly string[];
      };
      const said = JSON.parse(text) as { dockerConfig: string; labels: readonly string[] };
      assert.ok(
        start.some((command) => command.includes(`--config-file=${said.dockerConfig} `)),
        JSON.stringify(start),
      );
      assert.ok(
        qemu.some((words) => words.endsWith(`,serial=${said.labels.at(-1)}`)),
        JSON.stringify(qemu),
      );
    });

    it('can be instantiated', async () =>
      assert.match(await place.nix.run('nix-instantiate', ['--expr', `${machine}.vm`]), /^\/nix\/store\/\S+\.drv$/));
  },
);

describe('the package for NixOS', () => {
  it('has the version of the program', () => {
    const root = path.join(import.meta.dirname, '../..');
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
    const file = readFileSync(path.join(root, 'units/nixos/package.nix'), 'utf8');
    assert.equal(/^ *version = "(.*)";$/m.exec(file)?.[1], version);
  });
});
