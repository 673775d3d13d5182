import { wallMs } from '../system/clock.ts';
import * as z from 'zod/mini';
import { parseJson } from '../text/parse-json.ts';
import { ask } from './ask.ts';
import type { BootDocument, UnitFacts } from './boot-document.ts';
import { processesNamed } from './named-processes.ts';

/** Without permission, docker answers with errors and leaves all of this empty. */
const answered = z.string().check(z.minLength(1));
const info = z.object({ DockerRootDir: answered, Driver: answered, ServerVersion: answered });
const container = z.object({
  Id: z.string(),
  Name: z.string(),
  State: z.object({ StartedAt: z.string() }),
  Config: z.object({ Image: z.string() }),
});

/** What dockerd itself says that it uses. It is asked only if it is running, because the socket would start it. */
export async function dockerInfo(notes: string[]): Promise<BootDocument['dockerInfo']> {
  const answer = await ask('docker', ['info', '--format', '{{json .}}']);
  if ('problem' in answer) {
    notes.push(answer.problem);
    return null;
  }
  try {
    const { DockerRootDir: dataRoot, Driver: storageDriver, ServerVersion: version } = parseJson(answer.text, info);
    return { dataRoot, storageDriver, version };
  } catch {
    notes.push('docker info: no answer of dockerd; are you in the group docker?');
    return null;
  }
}

/**
 * The container that was started first in this boot. Its scope has the exact time, and its shim has it to a hundredth
 * of a second. For a container that has ended, dockerd has only the time of day, which is wrong if the clock was set
 * meanwhile.
 * @param scopes all units; those of containers are called `docker-ID.scope`
 */
export async function firstContainer(
  scopes: readonly UnitFacts[],
  bootedUsec: number,
  nowUsec: number,
  notes: string[],
): Promise<BootDocument['firstContainer']> {
  const ids = await ask('docker', ['ps', '--all', '--quiet', '--no-trunc']);
  const list =
    'text' in ids
      ? ids.text
          .split('\n')
          .filter((id) => /^[0-9a-f]{64}$/.test(id))
          .slice(0, 1000)
      : [];
  if (list.length === 0) return null;
  const answer = await ask('docker', ['inspect', '--format', '{{json .}}', ...list]);
  if ('problem' in answer) {
    notes.push(answer.problem);
    return null;
  }
  const shims = new Map(
    processesNamed('containerd-shim').map(({ argv, startUsec }) => [argv[argv.indexOf('-id') + 1] ?? '', startUsec]),
  );
  const scopeTimes = new Map(scopes.map(({ id, activeEnterUsec }) => [id, activeEnterUsec]));
  const realOffsetUsec = wallMs() * 1000 - nowUsec;
  const starts = answer.text
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      const { Id: id, Name, State, Config } = parseJson(line, container);
      const startUsec =
        scopeTimes.get(`docker-${id}.scope`) ??
        shims.get(id) ??
        Math.round(Date.parse(State.StartedAt) * 1000 - realOffsetUsec);
      return startUsec >= bootedUsec ? [{ id, name: Name.replace(/^\//, ''), image: Config.Image, startUsec }] : [];
    });
  return starts.toSorted((left, right) => left.startUsec - right.startUsec)[0] ?? null;
}
