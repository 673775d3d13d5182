import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { benchBoot } from './boot.ts';
import { groups } from './boot-cases.ts';
import { bootChart } from './boot-chart.ts';
import { agentPhases, bootSlopes, bootTable, type Sample } from './boot-report.ts';
import { benchBuild } from './build.ts';
import { benchContainerd } from './containerd.ts';
import { containerdGroups, containerdVersions } from './containerd-cases.ts';
import { containerdSlopes, containerdTable } from './containerd-report.ts';
import { benchFirstRun, speedNames } from './first-run.ts';
import { benchFleet } from './fleet.ts';
import { imageNames } from './first-run-images.ts';

const HELP = `npm run bench [-- boot|build|containerd|first-run|fleet] [options]

Measures side by side, in one run and in turns. Without a name, boot and build.

boot: from exec to READY=1 received, beside scripts, docker load, tarballs, a C program of the same system calls
  --only GROUPS    some of ${groups.join(', ')}, with commas between (default all)
  --quick          fewer sizes, 3 rounds, nothing loaded: a minute or two
  --load-size MB   the image's size for docker load, from this machine's own files (default 850)
  --svg FILE       draws where the time goes
  --from FILE      measures nothing, but reads what --json wrote

build: what takes an image archive to a qcow2 disk
  build            docker-preloader build, also on one core, and with --compress
  tar + mke2fs     tar -x of the archive and all layers, mke2fs -d, qemu-img convert; the same
  engine docker    docker-preloader build --engine docker: a private dockerd, docker load, copy, qemu-img convert
  --quick          one round
  --size MB        the image's size, from this machine's own files (default 850)

containerd: from containerd's socket to the images being listed, by \`apply --only containerd\`
  --only GROUPS    some of ${containerdGroups.join(', ')} (default all): beside docker load and ctr images import;
                   each further layer and image beside a client that makes the same calls and nothing else;
                   nothing to do; Docker's start with and without; all programs and disks cold
  --versions LIST  of dockerd, with its containerd: some of ${containerdVersions.join(', ')} (default both)
  --size MB        the large image's size (default 850)

first-run: the first docker run from a cold disk, with and without reading ahead what a recorded run read
  --images NAMES   some of ${imageNames.join(', ')} (default all)
  --speeds NAMES   of the disk: some of ${speedNames.join(', ')} (default all)
  --dockerd STATES some of cold, warm: whether its programs are on such a disk, too (default both)
  --large-size MB  what the large image reads, of this machine's own files (default 300)

fleet: from a registry to a container that has run on each of so many guests, which are dockerds with their own data roots
  docker pull      on each guest
  pull, attach     docker-preloader pull once, of a disk of build --compress --push, and the disk attached to all
  --guests LIST    how many (default 1,4,8)
  --fleet-size MB  the image's size, from this machine's own files (default 300)

  --rounds N       rounds of each (default 7 of boot, 3 of build and fleet, 5 of first-run and of containerd)
  --json FILE      writes the figures there, too, each single one`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '850' },
    'load-size': { type: 'string', default: '850' },
    rounds: { type: 'string' },
    json: { type: 'string' },
    svg: { type: 'string' },
    images: { type: 'string' },
    speeds: { type: 'string' },
    dockerd: { type: 'string' },
    'large-size': { type: 'string', default: '300' },
    versions: { type: 'string' },
    guests: { type: 'string', default: '1,4,8' },
    'fleet-size': { type: 'string', default: '300' },
    only: { type: 'string' },
    from: { type: 'string' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const [sizeMb, loadMb, rounds] = [Number(values.size), Number(values['load-size']), Number(values.rounds ?? 1)];
const names = positionals.length > 0 ? positionals : ['boot', 'build'];
const chosen = values.only?.split(',') ?? groups.filter((group) => !values.quick || group !== 'load');
const known: readonly string[] = names.includes('containerd') ? containerdGroups : groups;
const someOf = <Name extends string>(
  known: readonly Name[],
  asked: string | undefined,
): readonly Name[] | undefined => {
  const found = asked === undefined ? known : known.filter((name) => asked.split(',').includes(name));
  return asked === undefined || found.length === asked.split(',').length ? found : undefined;
};
const [images, speeds, dockerds, versions] = [
  someOf(imageNames, values.images),
  someOf(speedNames, values.speeds),
  someOf(['cold', 'warm'] as const, values.dockerd),
  someOf(containerdVersions, values.versions),
];
const [largeMb, fleetMb] = [Number(values['large-size']), Number(values['fleet-size'])];
const guests = values.guests.split(',').map(Number);
const isWrong =
  names.some((name) => !['boot', 'build', 'containerd', 'first-run', 'fleet'].includes(name)) ||
  images === undefined ||
  speeds === undefined ||
  dockerds === undefined ||
  versions === undefined ||
  !(largeMb >= 1) ||
  !(fleetMb >= 1) ||
  guests.some((count) => !Number.isInteger(count) || count < 1 || count > 64) ||
  (values.only !== undefined && chosen.some((group) => !known.includes(group))) ||
  !(sizeMb >= 1) ||
  !(loadMb >= 1) ||
  !Number.isInteger(rounds) ||
  rounds < 1;

if (values.help) console.log(HELP);
else if (isWrong) {
  console.error(
    `docker-preloader bench: expected 'boot', 'build', 'containerd', 'first-run' or 'fleet' with its options, found '${process.argv.slice(2).join(' ')}'; --help tells more`,
  );
  process.exitCode = 2;
} else if (
  ((names.includes('boot') && values.from === undefined) ||
    names.includes('first-run') ||
    names.includes('fleet') ||
    names.includes('containerd')) &&
  process.pid !== 1
) {
  // With mounts and processes of its own, of which it is the first: what else runs here neither holds its mounts nor
  // sees them. Not private: what others unmount must go here, too.
  const { exitCode } = await execa(
    'unshare',
    [
      '--mount',
      '--propagation',
      'slave',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      process.execPath,
      ...process.execArgv,
      ...process.argv.slice(1),
    ],
    { stdio: 'inherit', reject: false },
  );
  process.exitCode = exitCode ?? 1;
} else {
  try {
    await bench();
  } catch (error) {
    console.error(`docker-preloader bench: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

async function bench(): Promise<void> {
  const result: Record<string, unknown> = {
    machine: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
  };
  if (names.includes('boot')) {
    const samples =
      values.from === undefined
        ? await benchBoot({
            groups: chosen,
            quick: values.quick,
            rounds: Number(values.rounds ?? (values.quick ? 3 : 7)),
            loadMb,
          })
        : (JSON.parse(readFileSync(values.from, 'utf8')) as { readonly boot: { readonly samples: readonly Sample[] } })
            .boot.samples;
    const [table, slopes, phases] = [bootTable(samples), bootSlopes(samples), Object.fromEntries(agentPhases(samples))];
    console.table(table);
    if (slopes.length > 0) console.table(slopes);
    console.log(
      `where the agent's time goes, ms: ${Object.entries(phases)
        .map(([phase, value]) => `${phase} ${value.toFixed(1)}`)
        .join(', ')}`,
    );
    const chart = bootChart(samples);
    if (values.svg !== undefined && chart !== undefined) writeFileSync(values.svg, chart);
    result['boot'] = { table, slopes, phases, samples };
  }
  if (names.includes('build'))
    result['build'] = await benchBuild({ sizeMb, rounds: Number(values.rounds ?? (values.quick ? 1 : 3)) });
  if (names.includes('containerd')) {
    const samples = await benchContainerd({
      groups: someOf(containerdGroups, values.only) ?? [],
      versions: versions ?? [],
      rounds: Number(values.rounds ?? 5),
      sizeMb,
    });
    const [table, slopes] = [containerdTable(samples), containerdSlopes(samples)];
    console.table(table);
    if (slopes.length > 0) console.table(slopes);
    result['containerd'] = { table, slopes, samples };
  }
  if (names.includes('fleet'))
    result['fleet'] = await benchFleet({ guests, sizeMb: fleetMb, rounds: Number(values.rounds ?? 3) });
  if (names.includes('first-run'))
    result['first run'] = await benchFirstRun({
      images: images ?? [],
      speeds: speeds ?? [],
      dockerds: dockerds ?? [],
      largeMb,
      rounds: Number(values.rounds ?? 5),
    });
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, undefined, 1)}\n`);
}
