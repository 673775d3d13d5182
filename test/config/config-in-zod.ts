import { isAbsolute, normalize } from 'node:path';
import * as z from 'zod/mini';
import { labelPattern } from '../../agent/config/label.ts';
import { membersOf } from '../../agent/text/json-members.ts';
import { parseJson } from '../../agent/text/parse-json.ts';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import { parseRequired } from '../../agent/config/required.ts';
import { parseTrustedKey } from '../../agent/config/trusted-key.ts';

const defaults = defaultConfig();
const absolutePath = z.string().check(
  z.refine((path) => isAbsolute(path), 'an absolute path'),
  z.refine(isPath, 'a path without NUL'),
  z.overwrite((path) => normalize(path).replace(/(.)\/$/, '$1')),
);
const label = z
  .string()
  .check(
    z.refine(
      (text) => labelPattern(text) !== undefined,
      'a label of at most 16 letters, digits, dots, dashes and underscores, or a glob of such',
    ),
  );
const requiredText = z
  .string()
  .check(
    z.refine(
      (text) => parseRequired(text) !== undefined,
      'a label or glob, perhaps with @sha256:<64 hex digits> behind it',
    ),
  );
// The default is given before the pipe, because a JSON schema has none of what comes after a transformation.
const required = z.pipe(
  z._default(z.array(requiredText), []),
  z.transform((texts: string[]) => texts.flatMap((text) => parseRequired(text) ?? [])),
);

const trustedKeyText = z
  .string()
  .check(
    z.refine(
      (text) => parseTrustedKey(text) !== undefined,
      'an Ed25519 key as in a .pub file of ssh-keygen: ssh-ed25519 AAAA…',
    ),
  );
const trustedKeys = z.pipe(
  z.array(trustedKeyText).check(z.refine((keys) => keys.length > 0, 'at least one key')),
  z.transform((texts: string[]) => texts.flatMap((text) => parseTrustedKey(text) ?? [])),
);

const isFolder = (text: string): boolean =>
  isAbsolute(text) && isPath(text) && !/[*?].*\/./s.test(normalize(text)) && normalize(text) !== '/';
const source = z.string().check(
  z.refine(
    (text) => (/^(?:virtiofs|9p):/.test(text) ? /^[^:]*:[A-Za-z0-9][\w.-]{0,15}$/.test(text) : isFolder(text)),
    'the absolute path of a folder, which may have a glob as its last part, or `virtiofs:` or `9p:` and a tag that can be a label',
  ),
  z.overwrite((text) => (text.startsWith('/') ? normalize(text).replace(/(.)\/$/, '$1') : text)),
);

const dockerHost = z.string().check(
  z.refine((text) => /^unix:\/\/\/./.test(text), '`unix://` and an absolute path'),
  z.refine(isPath, 'a path without NUL'),
);

// The service manager gives up on a unit that starts more than five times in ten seconds, and on its socket with it.
const idleExitSec = z
  .number()
  .check(z.refine((sec) => sec === 0 || (sec >= 10 && sec <= 86_400), '0, or a time of 10 to 86400 seconds'));

/** As containerd checks them (containerd, pkg/identifiers). */
const namespace = z
  .string()
  .check(
    z.refine(
      (text) => /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/.test(text) && text.length <= 76,
      'a namespace of at most 76 letters and digits, with single dots, dashes or underscores between them',
    ),
  );

/**
 * The configuration described once more, in zod: a judge of what `agent/config/keys.ts` takes, makes of it and says. A
 * key that is added there is added here, too.
 */
export const configInZod = z.strictObject({
  labels: z._default(z.array(label), [...defaults.labels]),
  required,
  trustedKeys: z.optional(trustedKeys),
  sources: z._default(z.array(source), [...defaults.sources]),
  deviceTimeoutSec: z._default(z.number().check(z.minimum(0), z.maximum(3600)), defaults.deviceTimeoutSec),
  idleExitSec: z._default(idleExitSec, defaults.idleExitSec),
  dockerConfig: z._default(absolutePath, defaults.dockerConfig),
  dockerHost: z.optional(dockerHost),
  dataRoot: z.optional(absolutePath),
  conflicts: z._default(z.enum(['user', 'disk']), defaults.conflicts),
  mountRoot: z._default(absolutePath, defaults.mountRoot),
  statusSocket: z._default(absolutePath, defaults.statusSocket),
  removedImages: z._default(z.enum(['restore', 'respect']), defaults.removedImages),
  prunedImages: z._default(z.enum(['restore', 'respect']), defaults.prunedImages),
  readAheadMb: z._default(z.number().check(z.minimum(0), z.maximum(1_000_000)), defaults.readAheadMb),
  store: z._default(z.enum(['auto', 'overlay2', 'containerd', 'both']), defaults.store),
  containerdAddress: z._default(absolutePath, defaults.containerdAddress),
  containerdRoot: z.optional(absolutePath),
  containerdConfig: z.optional(absolutePath),
  containerdProgram: z.optional(absolutePath),
  // One that is there twice would be told of twice.
  namespaces: z._default(z.array(namespace).check(z.overwrite((names) => [...new Set(names)])), [
    ...defaults.namespaces,
  ]),
});

/** @throws Error naming the key */
export function parseInZod(text: string): Config {
  const config = parseJson(text, configInZod);
  const keys = membersOf(text).map(([key]) => key);
  const twice = keys.find((key, index) => keys.indexOf(key) < index);
  if (twice !== undefined) throw new Error(`\`${twice}\`: expected each key once, found it again`);
  return config;
}

/** Whether a text can be a path. No system call takes one with a NUL. */
function isPath(text: string): boolean {
  return !text.includes('\0');
}
