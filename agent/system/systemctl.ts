import { commandOutput } from './child-process.ts';
import { environment } from './environment.ts';

/** The service manager either answers within milliseconds or is stuck. */
export const SYSTEMCTL_TIMEOUT_MS = 10_000;

/** Properties by name. A list has one value for each element. */
export type Properties = ReadonlyMap<string, readonly string[]>;

/**
 * Parses `systemctl show`: NAME=VALUE lines, with an empty line between units. In a list of structures, each element
 * has a line of its own.
 */
export function parseShow(text: string): Properties[] {
  return text
    .split('\n\n')
    .filter((block) => block.trim() !== '')
    .map((block) => {
      const found = new Map<string, string[]>();
      for (const line of block.split('\n')) {
        const at = line.indexOf('=');
        if (at > 0) found.set(line.slice(0, at), [...(found.get(line.slice(0, at)) ?? []), line.slice(at + 1)]);
      }
      return found;
    });
}

/** Whether we are a unit of the system's service manager. Only then are its other units relevant to us. */
export const isSystemUnit = (): boolean => environment()['NOTIFY_SOCKET'] === '/run/systemd/notify';

/** Asks the service manager for properties of a unit. Even a unit that does not exist has some. @throws Error */
export async function showUnit(unit: string, ...names: readonly string[]): Promise<Properties> {
  return (
    parseShow(
      await commandOutput(
        'systemctl',
        ['show', unit, ...names.map((name) => `--property=${name}`)],
        SYSTEMCTL_TIMEOUT_MS,
      ),
    )[0] ?? new Map()
  );
}

/** The first value of a property, or the empty string. */
export function valueOf(of: Properties, name: string): string {
  return of.get(name)?.[0] ?? '';
}
