/** Files of agent/ in whose place the small engine has its own. */
export const replaced: Readonly<Record<string, string>> = {
  'system/libc.ts': 'tiny/libc.ts',
  'system/watch-devices.ts': 'tiny/watch-devices.ts',
  'commands/program.ts': 'tiny/program.ts',
  'daemon/run-after-ready.ts': 'tiny/after-ready.ts',
};

/** What stands for the modules of Node. There are no others. */
export const modules: Readonly<Record<string, string>> = { 'node:fs': 'tiny/fs.ts', 'node:path': 'tiny/path.ts' };

/**
 * What needs more than the small engine has: programs, HTTP/2. Each is imported later, where it is needed, and before
 * anything is changed: there the whole program begins anew.
 */
export const beyond: readonly string[] = [
  'containerd/containerd-of.ts',
  'containerd/fill-containerd.ts',
  'containerd/private-containerd.ts',
  'daemon/docker-service.ts',
  'daemon/resume.ts',
  'docker/dockerd-version.ts',
];
