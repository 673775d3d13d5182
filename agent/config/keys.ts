import { dirname, isAbsolute, normalize } from 'node:path';
import { listOf, made, number, oneOf, optional, such, text, withDefault, within } from './kind.ts';
import { isGlob, isLabel, labelPattern } from './label.ts';
import { parseRequired } from './required.ts';
import { parseTrustedKey } from './trusted-key.ts';

/** No system call takes a path with a NUL. */
const isPath = (said: string): boolean => !said.includes('\0');
const WITHOUT_NUL = 'a path without NUL';

const path = made(such(text, 'an absolute path', isAbsolute), WITHOUT_NUL, (said) =>
  isPath(said) ? normalize(said).replace(/(.)\/$/, '$1') : undefined,
);
const dockerHost = such(
  such(text, '`unix://` and an absolute path', (said) => /^unix:\/\/\/./.test(said)),
  WITHOUT_NUL,
  isPath,
);
const label = such(
  text,
  'a label of at most 16 letters, digits, dots, dashes and underscores, or a glob of such',
  (said) => labelPattern(said) !== undefined,
);
/** A folder, or one that another machine shares, with what a disk has. */
const source = made(
  text,
  'the absolute path of a folder, which may have a glob as its last part, or `virtiofs:` or `9p:` and a tag that can be a label',
  (said) => {
    const tag = /^(?:virtiofs|9p):(.*)$/s.exec(said)?.[1];
    if (tag !== undefined) return isLabel(tag) ? said : undefined;
    if (!isAbsolute(said) || !isPath(said)) return undefined;
    const folder = normalize(said).replace(/(.)\/$/, '$1');
    return folder === '/' || isGlob(dirname(folder)) ? undefined : folder;
  },
);
const requiredDisk = made(text, 'a label or glob, perhaps with @sha256:<64 hex digits> behind it', parseRequired);
const trustedKey = made(text, 'an Ed25519 key as in a .pub file of ssh-keygen: ssh-ed25519 AAAA…', parseTrustedKey);
// The service manager gives up on a unit that starts more than five times in ten seconds, and on its socket with it.
const idleExitSec = such(
  number,
  '0, or a time of 10 to 86400 seconds',
  (sec) => sec === 0 || (sec >= 10 && sec <= 86_400),
);
/** As containerd checks them (containerd, pkg/identifiers). */
const namespace = such(
  text,
  'a namespace of at most 76 letters and digits, with single dots, dashes or underscores between them',
  (said) => /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/.test(said) && said.length <= 76,
);

/** Each name counts once. Otherwise it would be reported twice. */
const namespaces = made(listOf(namespace), 'namespaces', (names): readonly string[] => [...new Set(names)]);

/**
 * Each key of our configuration: what may be said for it, and what applies without it. The type, the defaults, the
 * check with its messages, the JSON schema, and with it the manual, come from here.
 */
export const keys = {
  labels: withDefault(listOf(label), ['dpl-*']),
  required: withDefault(listOf(requiredDisk), []),
  /** Without it, nobody need have signed a disk. What is read is in base64. */
  trustedKeys: optional(such(listOf(trustedKey), 'at least one key', (keys) => keys.length > 0)),
  /** Folders that are taken as disks are; those of labels take precedence, unless a label of theirs is there, too. */
  sources: withDefault(listOf(source), []),
  deviceTimeoutSec: withDefault(within(0, 3600), 10),
  /** The daemon ends when it gets no request for this time. 0 means never. */
  idleExitSec: withDefault(idleExitSec, 0),
  dockerConfig: withDefault(path, '/etc/docker/daemon.json'),
  /** `unix://` and the path of dockerd's API. Without it, dockerd's own configuration decides. */
  dockerHost: optional(dockerHost),
  /** Without it, dockerd's own configuration decides. */
  dataRoot: optional(path),
  conflicts: withDefault(oneOf('user', 'disk'), 'user'),
  /** What is read is without symlinks. */
  mountRoot: withDefault(path, '/run/docker-preloader/disks'),
  statusSocket: withDefault(path, '/run/docker-preloader/status.sock'),
  removedImages: withDefault(oneOf('restore', 'respect'), 'restore'),
  /**
   * What happens to our images that a prune of the user's takes: they come back within seconds, or as `removedImages`
   * says.
   */
  prunedImages: withDefault(oneOf('restore', 'respect'), 'restore'),
  /** How much is read ahead after READY at most, in 10^6 bytes. 0 means nothing. */
  readAheadMb: withDefault(within(0, 1_000_000), 512),
  /** Which store is filled; `auto`: the one that dockerd will use, and any namespace besides Docker's. */
  store: withDefault(oneOf('auto', 'overlay2', 'containerd', 'both'), 'auto'),
  /** Path of containerd's socket. */
  containerdAddress: withDefault(path, '/run/containerd/containerd.sock'),
  /** The root of a containerd that starts only later, such as that of K3s; with its configuration, and its program. */
  containerdRoot: optional(path),
  containerdConfig: optional(path),
  containerdProgram: optional(path),
  /** The namespaces of containerd that get the images. */
  namespaces: withDefault(namespaces, ['moby']),
};
