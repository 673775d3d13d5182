import * as z from 'zod/mini';
import { parseJson } from '../system/parse.ts';

/** What we need of /etc/docker/daemon.json; dockerd's other keys are no concern of ours. */
const schema = z.looseObject({
  'data-root': z.optional(z.string()),
  /** The old name of data-root, refused by dockerd since 23.0. */
  graph: z.optional(z.string()),
  'storage-driver': z.optional(z.string()),
  'userns-remap': z.optional(z.string()),
  features: z.optional(z.looseObject({ 'containerd-snapshotter': z.optional(z.boolean()) })),
});

/** Parses the text of a daemon.json. @throws Error naming the key */
export function parseDaemonConfig(text: string): z.infer<typeof schema> {
  return parseJson(text, schema);
}
