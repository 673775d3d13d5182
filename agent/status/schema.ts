import * as z from 'zod/mini';

/**
 * What the socket's JSON answers are, in zod: the types of the code, the check of what a client receives, and the JSON
 * schemas (`npm run generate`) all come from here. Loaded by clients and generators only, never on the way to READY.
 *
 * `/v1` only ever grows: no field goes, none changes its meaning. One that is added here gets a default, for a daemon
 * that is older than its client does not send it; after an upgrade of the package the old one runs on.
 */
const text = (meaning: string) => z.string().check(z.describe(meaning));
const count = (meaning: string) => z.int().check(z.nonnegative(), z.describe(meaning));
const flag = (meaning: string) => z.boolean().check(z.describe(meaning));
const textOrNull = (meaning: string) => z.nullable(z.string()).check(z.describe(meaning));

const state = z.enum(['ok', 'empty', 'degraded', 'failed']).check(z.describe('how the run ended'));

const conflict = z.object({
  disks: z.array(z.string()).check(z.describe('labels of the disks that claim the tag')),
  user: flag('whether the user claims it, too'),
  winner: textOrNull('the label of the disk that has it, or null where the user has'),
});

const finding = z.object({
  code: text('one of the codes that docker-preloader(8) lists'),
  message: text('what was expected, what was found, what to do; in one line'),
  label: z.optional(z.string()),
  device: z.optional(z.string()),
  image: z.optional(z.string()),
  conflict: z.optional(conflict),
});

const problem = z.nullable(
  z.object({ code: text('one of the codes that docker-preloader(8) lists'), message: text('the same in words') }),
);

const disk = z.object({
  label: text('the filesystem label; an entry of `required` where no such disk is there'),
  device: textOrNull('its device, or null where it is not there'),
  filesystem: textOrNull('ext4 or erofs, or null where it is not known'),
  sizeBytes: z.nullable(count('of the device')),
  mountPoint: textOrNull('where it is mounted, or null where it is not'),
  images: count('images on it that are valid'),
  layers: count('layers on it that are valid'),
  layerBytes: count('their size, as image sizes are counted'),
  manifestDigest: textOrNull("of the disk's docker-preloader.json, which `required` can pin"),
  state: z._default(
    z
      .enum(['in-use', 'pending', 'unused', 'refused', 'lost', 'missing'])
      .check(
        z.describe(
          'in-use: its images are in the store; pending: they come when Docker next starts; unused: readable, but the store could not be filled; refused: left out; lost: pulled out while mounted; missing: not there',
        ),
      ),
    'in-use',
  ),
  adopted: z._default(flag('mounted by an earlier run in this boot, and used as it is'), false),
  sharedLayers: z._default(count('of its layers, those that the store has from the user or another disk'), 0),
  error: z._default(problem, null),
});

const image = z.object({
  id: text('sha256:…'),
  references: z.array(z.string()).check(z.describe('its names on the disk')),
  disk: text('the label of its disk'),
  usable: flag('whether dockerd has it'),
  code: z._default(textOrNull('why not: a code, or PENDING'), null),
  reason: z._default(textOrNull('why not, in words'), null),
  dockerReferences: z._default(
    z
      .nullable(z.array(z.string()))
      .check(z.describe("names that dockerd has for it, the user's too; empty where it does not have it")),
    null,
  ),
});

const timing = z.object({
  phase: text('config, discover, mount, read, plan, apply, check or ready'),
  startUsec: count('when it began, in microseconds of CLOCK_MONOTONIC'),
  durationUsec: z._default(count('how long it took, in microseconds'), 0),
  waitedFor: z.optional(text('what it had to wait for, in words')),
  mounted: z.optional(
    z.array(
      z.object({
        label: text('of the disk'),
        device: text('its node'),
        atUsec: count('when it was mounted, in microseconds of CLOCK_MONOTONIC'),
      }),
    ),
  ),
});

/** `GET /v1/status`, status.json, `status --json`. */
export const statusSchema = z.object({
  state,
  summary: text('all of it in one line'),
  version: text('of docker-preloader'),
  formatVersion: text('of the disks that it writes'),
  dataRoot: textOrNull('the store that was filled'),
  dockerRunning: flag('whether dockerd ran then'),
  applied: flag('whether the store was changed, or found to be as it should be'),
  changes: count('how many changes were made to the store'),
  pending: z.array(z.string()).check(z.describe("what waits for Docker's next start, a line each")),
  disks: z.array(disk),
  images: z.array(image),
  findings: z.array(finding).check(z.describe('what was left out or is in conflict')),
  timings: z.array(timing),
  readyUsec: count('when READY was reported, in microseconds of CLOCK_MONOTONIC'),
  phase: z._default(
    text(
      'what the agent is at: ready, then sync while the store is written to its disk, then watch; ready for a run without a daemon',
    ),
    'ready',
  ),
  phaseSince: z._default(text('since when, ISO 8601'), ''),
  phaseSinceUsec: z._default(count('since when, in microseconds of CLOCK_MONOTONIC'), 0),
  conflicts: z._default(
    z
      .array(z.object({ reference: text('the tag'), ...conflict.shape, message: text('in words') }))
      .check(z.describe('tags that more than one claims')),
    [],
  ),
  versions: z._default(
    z.object({
      agent: text('of docker-preloader'),
      format: text('of the disks that it writes'),
      ledger: z._default(text('of the ledger that it writes'), ''),
      dockerd: textOrNull(
        'of the dockerd that docker.service starts; null until a client asks, and where there is none',
      ),
    }),
    { agent: '', format: '', ledger: '', dockerd: null },
  ),
});

/** `GET /v1/plan`, `plan --json`. */
export const planSchema = z.object({
  state,
  steps: z
    .array(z.object({ do: text('the kind of change'), text: text('the change in one line') }))
    .check(z.describe('what would be done to the store if Docker started now')),
  findings: z.array(finding),
});

type DeepReadonly<Value> = Value extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }
    : Value;

export type StatusDocument = DeepReadonly<z.infer<typeof statusSchema>>;
export type DiskStatus = StatusDocument['disks'][number];
export type ImageStatus = StatusDocument['images'][number];
export type PlanDocument = DeepReadonly<z.infer<typeof planSchema>>;
