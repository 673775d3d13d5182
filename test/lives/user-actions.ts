import { makeTar } from '../builder/tar/make-tar.ts';
import { PRUNE_ALL, Refused } from '../support/docker-api.ts';
import { buildImage } from '../support/images.ts';
import { until } from '../support/until.ts';
import type { Guest } from './guest.ts';
import { savedArchive } from './images.ts';
import type { Did } from './model.ts';
import type { Dice } from './dice.ts';

/** Something that the user does to a dockerd that runs. */
export interface UserAction {
  /** As one would type it. */
  readonly text: string;
  readonly run: () => Promise<void>;
  readonly did: Did;
  /** A name, with what the image says that it will have. */
  readonly says?: readonly [name: string, content: string];
  /** Containers that go, and of which anything may be left where dockerd is killed meanwhile. */
  readonly drops?: readonly string[];
}

type Maker = (guest: Guest, dice: Dice) => UserAction | undefined;

const encoded = encodeURIComponent;
const runnable = (guest: Guest, dice: Dice): [name: string, image: string] | undefined =>
  dice.pick(
    [...guest.model.names].filter(
      ([name, image]) => !name.includes('@') && guest.says.has(image) && guest.canRun(image),
    ),
  );
const repositoryOf = (name: string): string => name.replace(/@.*$|:[^:/]*$/, '');

const load: Maker = (guest, dice) => {
  const image = dice.must([...guest.universe.images.values()]);
  const tags = dice.some(guest.universe.names, dice.below(4) === 0 ? 0 : 1 + dice.below(2));
  return {
    text: `docker load: ${image.name} as ${tags.length === 0 ? 'nothing' : tags.join(', ')}`,
    run: async () => void (await guest.tell('POST', '/images/load?quiet=1', savedArchive([[image, tags]]))),
    did: { gives: new Map(tags.map((tag) => [tag, image.id])), wrote: [image.id] },
  };
};

const pull: Maker = (guest, dice) => {
  const [reference, { image, byDigest }] = dice.must([...guest.universe.pulls]);
  const isByDigest = dice.below(4) === 0;
  const isThere = guest.store.images().has(image.id);
  return {
    text: `docker pull ${isByDigest ? byDigest : reference} (${image.name})`,
    run: async () => {
      guest.hasSources = true;
      await guest.tell(
        'POST',
        isByDigest
          ? `/images/create?fromImage=${encoded(repositoryOf(byDigest))}&tag=${encoded(byDigest.replace(/^.*@/, ''))}`
          : `/images/create?fromImage=${encoded(repositoryOf(reference))}&tag=${reference.replace(/^.*:/, '')}`,
      );
    },
    // What is there already, a pull does not write again.
    did: {
      gives: new Map([...(isByDigest ? [] : [reference]), byDigest].map((name) => [name, image.id])),
      wrote: isThere ? [] : [image.id],
    },
  };
};

const tag: Maker = (guest, dice) => {
  const found = dice.pick([...guest.model.names].filter(([name]) => !name.includes('@')));
  if (found === undefined) return undefined;
  const [from, image] = found;
  const to = dice.must(guest.universe.names);
  return {
    text: `docker tag ${from} ${to}`,
    run: async () =>
      void (await guest.tell(
        'POST',
        `/images/${from}/tag?repo=${encoded(repositoryOf(to))}&tag=${to.replace(/^.*:/, '')}`,
      )),
    did: { gives: new Map([[to, image]]) },
  };
};

/** Taking away what a container needs is refused, and that is that. */
const mayBeRefused = async (guest: Guest, method: string, place: string): Promise<void> => {
  try {
    await guest.tell(method, place);
  } catch (error) {
    if (!(error instanceof Refused && /: 409 /.test(error.message))) throw error;
  }
};

const untag: Maker = (guest, dice) => {
  const found = dice.pick([...guest.model.names]);
  if (found === undefined) return undefined;
  const [name, image] = found;
  // With its last tag in a repository an image loses the digests there.
  const takes = (other: string): boolean =>
    other === name || (other.includes('@') && guest.model.names.get(other) === image);
  return {
    text: `docker rmi ${name}`,
    run: () => mayBeRefused(guest, 'DELETE', `/images/${name}`),
    did: { takes, removes: true },
  };
};

const rmi: Maker = (guest, dice) => {
  const image = dice.pick([...guest.store.images().keys()]);
  if (image === undefined) return undefined;
  const names = [...guest.model.names].filter(([, id]) => id === image).map(([name]) => name);
  return {
    text: `docker rmi -f ${image.slice(7, 19)} (${names.join(', ')})`,
    run: () => mayBeRefused(guest, 'DELETE', `/images/${image}?force=1`),
    did: { takes: (name) => names.includes(name), removes: true },
  };
};

const prune: Maker = (guest, dice) => {
  const all = dice.below(3) === 0;
  return {
    text: `docker image prune -f${all ? 'a' : ''}`,
    run: () => guest.prune(`/images/prune?filters=${encoded(JSON.stringify({ dangling: [String(!all)] }))}`),
    did: { takes: (name) => all || name.includes('@'), removes: true, comesBack: guest.bringsBack },
  };
};

const systemPrune: Maker = (guest) => ({
  text: 'docker system prune -af',
  run: async () => {
    const named = async (place: string): Promise<Set<string>> =>
      new Set(
        (await guest.get<readonly { Names: readonly string[] }[]>(place)).flatMap(({ Names }) =>
          Names.map((name) => name.slice(1)),
        ),
      );
    // Not even a prune takes one that runs. One that was half made as dockerd was killed does not run, though it is to
    // stay; one that has just ended is listed for a moment as if it ran.
    const running = await named('/containers/json');
    await guest.tell('POST', '/containers/prune');
    const left = await named('/containers/json?all=1');
    for (const [name, { stays }] of guest.containers)
      if (!left.has(name) && !(stays && running.has(name))) guest.containers.delete(name);
    await guest.prune(PRUNE_ALL);
    await guest.tell('POST', '/build/prune?all=1');
  },
  did: { takes: () => true, removes: true, comesBack: guest.bringsBack },
  drops: [...guest.containers].filter(([, { stays }]) => !stays).map(([name]) => name),
});

const build: Maker = (guest, dice) => {
  const from = runnable(guest, dice);
  if (from === undefined) return undefined;
  const to = dice.must(guest.universe.names);
  const content = `built ${guest.fresh()}`;
  const context = makeTar([
    { name: 'Dockerfile', content: `FROM ${from[0]}\nCOPY app /app\nLABEL made=${content.replace(' ', '-')}\n` },
    { name: 'app', content: `${content}\n` },
  ]);
  return {
    text: `docker build -t ${to}, from ${from[0]}: ${content}`,
    run: async () =>
      void (await guest.tell('POST', `/build?t=${encoded(to)}&networkmode=none&rm=1&forcerm=1`, context)),
    did: { gives: new Map([[to, undefined]]) },
    says: [to, content],
  };
};

/** By BuildKit, whose cache is in the data root, too. */
const buildKit: Maker = (guest, dice) => {
  const from = runnable(guest, dice);
  if (from === undefined) return undefined;
  const to = dice.must(guest.universe.names);
  const content = `built ${guest.fresh()}`;
  const isCopy = dice.once(3);
  return {
    text: `docker buildx build -t ${to}, ${isCopy ? `which copies from ${from[0]}` : `from ${from[0]}: ${content}`}`,
    run: async () =>
      void (await buildImage(
        guest.dockerd,
        to,
        isCopy
          ? `FROM scratch\nCOPY --from=${from[0]} /app /app\nCOPY --from=${from[0]} /bin /bin\n`
          : `FROM ${from[0]}\nCOPY app /app\n`,
        'buildkit',
        { app: `${content}\n` },
      )),
    did: { gives: new Map([[to, undefined]]) },
    says: [to, isCopy ? (guest.says.get(from[1]) ?? '') : content],
  };
};

const run: Maker = (guest, dice) => {
  const from = runnable(guest, dice);
  if (from === undefined || guest.containers.size >= 4) return undefined;
  const what = dice.must(['create', 'run', 'run', 'stay'] as const);
  const name = `c${guest.fresh()}`;
  const says = `${name} says`;
  const volume = dice.below(2) === 0 ? `volume-${name}` : '';
  const script = `for file in /own-${name} /volume/file; do [ -f $file ] || echo "${says}" > $file; done; cat /own-${name} /volume/file${what === 'stay' ? '; sleep 100000' : ''}`;
  return {
    text: `docker ${what === 'create' ? 'create' : 'run'} --name ${name}${what === 'stay' ? ' --detach --restart always' : ''} --volume ${volume === '' ? '' : `${volume}:`}/volume ${from[0]}`,
    run: async () => {
      await guest.tell('POST', `/containers/create?name=${name}`, {
        Image: from[0],
        Cmd: ['sh', '-c', script],
        NetworkDisabled: true,
        StopSignal: 'SIGKILL',
        Volumes: { '/volume': {} },
        HostConfig: {
          NetworkMode: 'none',
          Binds: volume === '' ? [] : [`${volume}:/volume`],
          ...(what === 'stay' ? { RestartPolicy: { Name: 'always' } } : {}),
        },
      });
      const { Id, Mounts } = await guest.get<{ Id: string; Mounts: readonly { Name: string }[] }>(
        `/containers/${name}/json`,
      );
      const made = { id: Id, image: from[1], says, volume: Mounts[0]?.Name ?? '', stays: what === 'stay' };
      guest.containers.set(name, { ...made, hasRun: false });
      if (what === 'create') return;
      await guest.tell('POST', `/containers/${name}/start`);
      if (what === 'run') await guest.tell('POST', `/containers/${name}/wait`);
      else await untilItHasWritten(guest, name, says);
      guest.containers.set(name, { ...made, hasRun: true });
    },
    did: {},
  };
};

/** What a container that stays has to say, it says at once. */
async function untilItHasWritten(guest: Guest, name: string, says: string): Promise<void> {
  const hasWritten = async (): Promise<boolean> =>
    (await guest.tell('GET', `/containers/${name}/logs?stdout=1`)).toString('latin1').split(says).length > 2;
  await until(`${name}: '${says}' twice in its output`, hasWritten, 10_000);
}

const commit: Maker = (guest, dice) => {
  const found = dice.pick(
    [...guest.containers]
      .filter(([, container]) => guest.canStart(container))
      .filter(([, { image, stays }]) => guest.says.has(image) && !stays && guest.store.images().has(image)),
  );
  if (found === undefined) return undefined;
  const [name, { image }] = found;
  const to = dice.must(guest.universe.names);
  return {
    text: `docker commit ${name} ${to}`,
    run: async () =>
      void (await guest.tell(
        'POST',
        `/commit?container=${name}&repo=${encoded(repositoryOf(to))}&tag=${to.replace(/^.*:/, '')}&comment=${guest.fresh()}`,
      )),
    did: { gives: new Map([[to, undefined]]) },
    says: [to, guest.says.get(image) ?? ''],
  };
};

const remove: Maker = (guest, dice) => {
  const name = dice.pick([...guest.containers.keys()]);
  if (name === undefined) return undefined;
  return {
    text: `docker rm -f ${name}`,
    run: async () => {
      await guest.tell('DELETE', `/containers/${name}?force=1`);
      guest.containers.delete(name);
    },
    did: {},
    drops: [name],
  };
};

const makers: readonly (readonly [weight: number, make: Maker])[] = [
  [6, load],
  [3, pull],
  [5, tag],
  [5, untag],
  [2, rmi],
  [2, prune],
  [1, systemPrune],
  [4, build],
  [2, buildKit],
  [5, run],
  [3, commit],
  [1, remove],
];

/** Something that can be done now. */
export function userAction(guest: Guest, dice: Dice): UserAction {
  const all = makers.flatMap(([weight, make]) => Array.from({ length: weight }, () => make));
  for (;;) {
    const action = dice.must(all)(guest, dice);
    if (action !== undefined) return action;
  }
}
