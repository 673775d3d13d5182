/** Files of agent/ in whose place the small engine has its own. */
export const replaced: Readonly<Record<string, string>> = {
  'system/libc.ts': 'tiny/libc.ts',
  'text/more-values.ts': 'tiny/more-values.ts',
  'text/plain-path.ts': 'tiny/plain-path.ts',
  'text/strict-json.ts': 'tiny/strict-json.ts',
  'text/sha256-digest.ts': 'tiny/sha256-digest.ts',
  'system/ed25519.ts': 'tiny/ed25519.ts',
  'system/watch-devices.ts': 'tiny/watch-devices.ts',
  'commands/program.ts': 'tiny/program.ts',
  'daemon/run-after-ready.ts': 'tiny/after-ready.ts',
  'daemon/answer-clients.ts': 'tiny/answer-clients.ts',
  'system/child-process.ts': 'tiny/child-process.ts',
  'system/memory.ts': 'tiny/memory.ts',
  'system/watch-folders.ts': 'tiny/watch-folders.ts',
};

/** What stands for the modules of Node. There are no others. */
export const modules: Readonly<Record<string, string>> = {
  'node:fs': 'tiny/fs.ts',
  'node:fs/promises': 'tiny/fs-promises.ts',
  'node:http2': 'tiny/http2.ts',
  'node:net': 'tiny/net.ts',
  'node:path': 'tiny/path.ts',
  'node:timers/promises': 'tiny/timers-promises.ts',
};

/**
 * What needs more than the small engine has: programs that it talks to, and a server. Each is imported later, where it
 * is needed, and before anything is changed: there the whole program begins anew, or after READY goes on.
 */
export const beyond: readonly string[] = [
  'containerd/private/private-containerd.ts',
  'daemon/answer.ts',
  'daemon/resume.ts',
];

/**
 * What is only ever imported by `import()`, in groups: nothing of a group is read before the first of it is imported. A
 * boot without containerd reads none of the second one, and one without `trustedKeys` none of the third.
 */
export const later: Readonly<Record<string, readonly string[]>> = {
  'after-ready': [
    'daemon/run-after-ready.ts',
    'daemon/idle.ts',
    'daemon/read-ahead.ts',
    'daemon/docker-socket.ts',
    'daemon/follow-prunes.ts',
    'daemon/overlay2-prunes.ts',
    'overlay2/sync-store.ts',
  ],
  containerd: [
    'daemon/namespace-prunes.ts',
    'daemon/follow-containerd.ts',
    'boot/fill-namespaces.ts',
    'containerd/fill-containerd.ts',
    'containerd/containerd-ledger.ts',
    'containerd/containerd-of.ts',
    'containerd/cri-snapshotter.ts',
  ],
  signed: ['disk/signed-disk.ts', 'boot/pinned-digest.ts'],
};
