import { globSync } from 'node:fs';
import path from 'node:path';
import { type Guest, type GuestContent, ok } from './guest.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** The .deb that `npm run package` made. */
export function packageFile(): string {
  const [found, ...more] = globSync('dist/docker-preloader_*_amd64.deb', { cwd: root });
  if (found === undefined || more.length > 0) {
    throw new Error(
      `Expected one dist/docker-preloader_*_amd64.deb, found ${found === undefined ? 'none' : [found, ...more].join(', ')}: run \`npm run package\` before the tests`,
    );
  }
  return path.join(root, found);
}

/** Where the guest finds the .deb. */
export const packageInGuest = '/root/docker-preloader.deb';

/**
 * A guest on which the package is installed and the unit enabled before it boots for the first time.
 * @param config keys of /etc/docker-preloader/config.json
 */
export function preloadedGuest(config: Readonly<Record<string, unknown>> = {}, extra: GuestContent = {}): GuestContent {
  return {
    files: {
      [packageInGuest]: { copyOf: packageFile() },
      '/etc/docker-preloader/config.json': JSON.stringify(config),
      ...extra.files,
    },
    setup: `dpkg -i ${packageInGuest}\nsystemctl enable docker-preloader\n${extra.setup ?? ''}`,
  };
}

/** What `docker images` lists in the guest, as NAME:TAG, sorted; what has no name is left out. */
export async function dockerImages(guest: Guest): Promise<readonly string[]> {
  return (await ok(guest, "docker images --filter dangling=false --format '{{.Repository}}:{{.Tag}}' | sort"))
    .split('\n')
    .filter((line) => line !== '');
}

/** Runs a container of a preloaded image and returns what its own layer has in /name: its tag. */
export async function nameInContainer(guest: Guest, image: string): Promise<string> {
  return ok(guest, `docker run --rm --network none ${image} cat /name`);
}

/** What the tests read of `docker-preloader status --json`. */
export interface GuestStatus {
  readonly state: string;
  readonly findings: readonly { readonly code: string; readonly message: string; readonly label?: string }[];
}

/** Asks the agent for its status. Its exit status says the state once more, so that is not looked at. */
export async function agentStatus(guest: Guest): Promise<GuestStatus> {
  const { stdout, stderr } = await guest.run('docker-preloader status --json');
  try {
    return JSON.parse(stdout) as GuestStatus;
  } catch (error) {
    throw new Error(`Expected \`docker-preloader status --json\` to print JSON, it said: ${stdout}${stderr}`, {
      cause: error,
    });
  }
}
