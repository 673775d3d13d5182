import { globSync } from 'node:fs';
import { execa } from 'execa';
import { architectureOf } from '../agent/packaging/architecture.ts';
import { buildPackages, crossPackages } from '../agent/packaging/small/build-tools.ts';
import { ensureDebianPackages } from './support/debian-packages.ts';
import { torture } from './support/size.ts';

/**
 * `npm test`: builds the executable and the package, then runs every stage. A stage, or the suite of the guests, can be
 * chosen: `npm test -- unit store`, `npm run test:vm -- bookworm`.
 */
interface Stage {
  readonly about: string;
  readonly files: readonly string[];
  /** Of these, what another stage has. */
  readonly except?: string;
  /** What the package is built for before, besides this machine. */
  readonly architecture?: string;
  /**
   * Test files at once. With two on two cores a third of the time is spent waiting for daemons, so there are more where
   * that is so. A machine that is emulated has a core for itself.
   */
  readonly concurrency: number;
}

const stages: Readonly<Record<string, Stage>> = {
  unit: {
    about: 'units, by tables and by properties',
    files: [
      'test/*.test.ts',
      'test/{attach,boot,boot-order,builder,commands,config,containerd,daemon,disk,docker,messages,merge,overlay2}/**/*.test.ts',
      'test/{packaging,status,streams,support,system,text,tiny,verify}/**/*.test.ts',
    ],
    except: 'test/{builder/{dockerd,engine/docker-engine,layer/corners},containerd/real/*}.test.ts',
    concurrency: 3,
  },
  store: {
    about: 'real dockerds 20.10, 26.1 and 28.5 on preloaded stores',
    files: ['test/{store,demo}/*.test.ts', 'test/builder/{dockerd,engine/docker-engine,layer/corners}.test.ts'],
    concurrency: 3,
    except: 'test/store/stories*',
  },
  containerd: {
    about: 'real containerds 1.6, 1.7 and 2.1, by their API and under dockerds that have their images there',
    files: ['test/containerd/real/*.test.ts'],
    concurrency: 2,
  },
  stories: {
    about: 'what a user has made of a store, over disks that come, go and change',
    files: ['test/store/stories*.test.ts'],
    concurrency: 3,
  },
  lives: {
    about: "random lives of real stores, against a model that knows what is the user's",
    files: ['test/lives/*.test.ts'],
    concurrency: 1,
  },
  safety: {
    about: 'faults at each call, power cuts, hostile and damaged disks, a status socket under attack',
    files: [
      'test/safety/*.test.ts',
      ...(torture
        ? ['test/vm/{attach,configured,fleet,nixos,power-loss*}.test.ts', 'test/builder/engine/docker-engine.test.ts']
        : []),
    ],
    concurrency: 2,
  },
  arm64: {
    about: 'the package for arm64, which is built here and emulated',
    files: ['test/arm64/*.test.ts'],
    architecture: 'arm64',
    concurrency: 2,
    ...(torture ? {} : { except: 'test/arm64/{boot,reproducible,same-as-node}.test.ts' }),
  },
  nixos: {
    about: "the module for NixOS, evaluated and built by Debian's Nix",
    files: ['test/nixos/*.test.ts'],
    concurrency: 2,
  },
  guest: { about: 'real systemd in containers', files: ['test/guest/*.test.ts'], concurrency: 2 },
  vm: {
    about: 'a virtual machine with qcow2 disks',
    files: ['test/vm/*.test.ts'],
    concurrency: 2,
    except: 'test/vm/power-loss*',
  },
};

const suites = ['bookworm', 'trixie', 'forky'];
const root = `${import.meta.dirname}/..`;

const words = process.argv.slice(2);
const unknown = words.find((word) => !(word in stages) && !suites.includes(word));
if (unknown !== undefined) {
  console.error(
    `docker-preloader tests: expected a stage (${Object.keys(stages).join(', ')}) or a suite (${suites.join(', ')}), found '${unknown}'`,
  );
  process.exit(2);
}
const inStages = new Set(Object.values(stages).flatMap(({ files }) => globSync(files, { cwd: root })));
const inNone = globSync('test/**/*.test.ts', { cwd: root }).filter((file) => !inStages.has(file));
if (inNone.length > 0) throw new Error(`expected a stage for each test, found none for ${inNone.join(', ')}`);
const suite = words.find((word) => suites.includes(word)) ?? 'trixie';
const chosen = Object.keys(stages).filter((name) => words.includes(name));

await ensureDebianPackages(buildPackages, { install: true });
await node('agent/packaging/build-package.ts');
const took: string[] = [];
for (const name of chosen.length > 0 ? chosen : Object.keys(stages)) {
  const stage = stages[name];
  if (stage === undefined) continue;
  const start = performance.now();
  console.log(`\n== ${name}: ${stage.about}`);
  const files = stage.files
    .flatMap((pattern) => globSync(pattern, { cwd: root, exclude: stage.except === undefined ? [] : [stage.except] }))
    .toSorted();
  if (stage.architecture !== undefined) await packageFor(stage.architecture);
  if (files.length === 0) throw new Error(`${name}: expected test files, found none`);
  await node(
    '--import=./test/support/file-limit.ts',
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${stage.concurrency}`,
    ...files,
  );
  took.push(`${name} ${Math.round((performance.now() - start) / 1000)} s`);
}
console.log(`\nall stages passed: ${took.join(', ')}`);

/** Makes the package for another architecture. @param name Debian's */
async function packageFor(name: string): Promise<void> {
  await ensureDebianPackages(crossPackages(architectureOf(name)), { install: true });
  await node('agent/packaging/build-package.ts', '--arch', name);
}

/** Runs a script under this Node; a failure ends the run with its exit status. */
async function node(...args: readonly string[]): Promise<void> {
  const { exitCode } = await execa(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    reject: false,
    env: { DPL_GUEST_SUITE: suite },
  });
  if (exitCode !== 0) process.exit(exitCode ?? 1);
}
