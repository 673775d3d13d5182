import * as z from 'zod/mini';

/**
 * The socket's JSON answers, in zod. The types in the code, the check of what a client receives, and the JSON schemas
 * (`npm run generate`) all come from here. It is loaded by clients and generators only, never on the way to READY.
 *
 * `/v1` only ever grows: no field is removed, and none changes its meaning. A field that is added here gets a default,
 * because a daemon that is older than its client does not send it: after an upgrade of the package, the old daemon
 * continues to run.
 */
const text = (meaning: string) => z.string().check(z.describe(meaning));
const count = (meaning: string) => z.int().check(z.nonnegative(), z.describe(meaning));
const flag = (meaning: string) => z.boolean().check(z.describe(meaning));
const textOrNull = (meaning: string) => z.nullable(z.string()).check(z.describe(meaning));

const state = z.enum(['ok', 'empty', 'degraded', 'failed']).check(z.describe('how the run ended'));

const conflict = z.object({
  disks: z.array(z.string()).check(z.describe('labels of the disks that claim the tag')),
  user: flag('whether the user also claims it'),
  winner: textOrNull('the label of the disk that has it, or null if the user has it'),
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
  label: text('the filesystem label; for a missing required disk, its entry in `required`'),
  device: textOrNull('its device, or what `sources` has found: a folder or a tag; null if it is not attached'),
  filesystem: textOrNull('ext4 or erofs, of a folder that on which it is, or null if that is not known'),
  sizeBytes: z.nullable(count('the size of the device, or of the filesystem that a folder is on')),
  mountPoint: textOrNull('where it is mounted, or null if it is not'),
  images: count('the number of valid images on it'),
  layers: count('the number of valid layers on it'),
  layerBytes: count('the size of its layers, counted like the size of images'),
  manifestDigest: textOrNull("the digest of the disk's docker-preloader.json, which `required` can pin"),
  signedBy: z._default(
    textOrNull('the fingerprint of the trusted key that has signed it, or null if `trustedKeys` is not set'),
    null,
  ),
  state: z._default(
    z
      .enum(['in-use', 'pending', 'unused', 'refused', 'lost', 'missing'])
      .check(
        z.describe(
          'in-use: its images are in the store; pending: they are added when Docker next starts; unused: readable, but the store could not be filled; refused: left out; lost: pulled out while mounted; missing: not attached',
        ),
      ),
    'in-use',
  ),
  adopted: z._default(flag('whether an earlier run in this boot had mounted it'), false),
  sharedLayers: z._default(count('how many of its layers the store has from the user or another disk'), 0),
  error: z._default(problem, null),
});

const image = z.object({
  id: text('sha256:…'),
  references: z.array(z.string()).check(z.describe('its names on the disk')),
  disk: text('the label of its disk'),
  usable: flag('whether dockerd has it, and every other store that is filled'),
  code: z._default(textOrNull('if not usable, why: a code, or PENDING'), null),
  reason: z._default(textOrNull('if not usable, why, in words'), null),
  dockerReferences: z._default(
    z
      .nullable(z.array(z.string()))
      .check(z.describe("all names that dockerd has for it, including the user's; empty if it does not have it")),
    null,
  ),
});

const store = z.object({
  store: text('overlay2 or containerd'),
  place: text("its data root, or containerd's socket"),
  namespace: textOrNull("containerd's namespace, or null for overlay2"),
  state: z
    .enum(['in-use', 'pending', 'waiting', 'failed'])
    .check(
      z.describe(
        'in-use: it has what the disks have; pending: changes wait; waiting: containerd does not run yet; failed: the findings say why',
      ),
    ),
  version: textOrNull('the version of containerd, or null'),
  images: count('how many images of the disks it has'),
  pending: count('how many changes wait'),
  names: z.array(z.string()).check(z.describe('the names that it has for them')),
});

const timing = z.object({
  phase: text('config, discover, mount, read, plan, apply, check or ready'),
  startUsec: count('when it began, in microseconds of CLOCK_MONOTONIC'),
  durationUsec: z._default(count('how long it took, in microseconds'), 0),
  waitedFor: z.optional(text('what it had to wait for, in words')),
  mounted: z.optional(
    z.array(
      z.object({
        label: text('the label of the disk'),
        device: text('its device node'),
        atUsec: count('when it was mounted, in microseconds of CLOCK_MONOTONIC'),
      }),
    ),
  ),
});

/** `GET /v1/status`, status.json, `status --json`. */
export const statusSchema = z.object({
  state,
  summary: text('everything in one line'),
  version: text('of docker-preloader'),
  formatVersion: text('the format of the disks that it writes'),
  dataRoot: textOrNull('the store that was filled'),
  dockerRunning: flag('whether dockerd was running'),
  applied: flag('whether the store was filled, or was already as it should be'),
  changes: count('how many changes were made to the store'),
  pending: z.array(z.string()).check(z.describe("what waits for Docker's next start, a line each")),
  disks: z.array(disk),
  images: z.array(image),
  stores: z._default(
    z.array(store).check(z.describe('each store that is filled, and each namespace of containerd')),
    [],
  ),
  findings: z.array(finding).check(z.describe('what was left out or is in conflict')),
  timings: z.array(timing),
  readyUsec: count('when READY was reported, in microseconds of CLOCK_MONOTONIC'),
  phase: z._default(
    text(
      'what the agent is doing: ready, then sync while the store is written to its disk, then watch; ready for a run without a daemon',
    ),
    'ready',
  ),
  phaseSince: z._default(text('since when, ISO 8601'), ''),
  phaseSinceUsec: z._default(count('since when, in microseconds of CLOCK_MONOTONIC'), 0),
  conflicts: z._default(
    z
      .array(z.object({ reference: text('the tag'), ...conflict.shape, message: text('in words') }))
      .check(z.describe('tags that are claimed more than once')),
    [],
  ),
  versions: z._default(
    z.object({
      agent: text('of docker-preloader'),
      format: text('the format of the disks that it writes'),
      ledger: z._default(text('the format of the ledger that it writes'), ''),
      dockerd: textOrNull(
        'the version of the dockerd that docker.service starts; null until a client asks, and if there is none',
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
export type StoreStatus = StatusDocument['stores'][number];
export type ImageStatus = StatusDocument['images'][number];
export type PlanDocument = DeepReadonly<z.infer<typeof planSchema>>;
