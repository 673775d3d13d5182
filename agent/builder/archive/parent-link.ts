import { isRecord } from '../../text/is-record.ts';
import type { ImageID } from '../../docker/ids.ts';

/** An image, and what its archive says about the image that it was built from. */
export interface ParentLink {
  readonly id: ImageID;
  readonly config: Buffer;
  readonly parent: string | undefined;
}

/**
 * The parents that dockerd would record: those that are in the archive as well (moby, image/tarexport/load.go,
 * validatedParentLinks and setParentID). `docker history` uses them to name steps, and the classic builder to find its
 * cache.
 * @throws Error if a parent's history is not the image's own without the last step, which `docker load` refuses
 */
export function parentsOf(links: readonly ParentLink[]): ReadonlyMap<ImageID, ImageID> {
  const byId = new Map(links.map((link) => [link.id as string, link]));
  const parents = new Map<ImageID, ImageID>();
  for (const { id, config, parent: claimed } of links) {
    const parent = claimed === undefined || claimed === id ? undefined : byId.get(claimed);
    if (parent === undefined) continue;
    if (!isOneStepFrom(stepsOf(parent.config), stepsOf(config))) {
      throw new Error(
        `${id}: expected a parent with the same history but for the last step, ` +
          `found ${parent.id}: docker load refuses it, too`,
      );
    }
    parents.set(id, parent.id);
  }
  return parents;
}

/** load.go, checkValidParent. If an image has no history at all, any parent is valid. */
function isOneStepFrom(before: readonly string[], after: readonly string[]): boolean {
  if (before.length === 0 && after.length === 0) return true;
  return after.length === before.length + 1 && before.every((step, index) => step === after[index]);
}

/**
 * The steps of a history, each with the fields that dockerd compares (image.History). Times are compared as points in
 * time.
 */
function stepsOf(config: Buffer): string[] {
  const document: unknown = JSON.parse(config.toString('utf8'));
  const history = isRecord(document) ? document['history'] : undefined;
  if (!Array.isArray(history)) return [];
  return history.map((step: unknown) => {
    const { created, author, created_by: by, comment, empty_layer: empty } = isRecord(step) ? step : {};
    return JSON.stringify([
      typeof created === 'string' ? instantOf(created) : null,
      author ?? '',
      by ?? '',
      comment ?? '',
      empty ?? false,
    ]);
  });
}

/** An RFC 3339 time with nanoseconds as seconds since 1970 and the fraction without trailing zeros. */
function instantOf(text: string): string {
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  return `${Date.parse(text.replace(/\.\d+/, ''))} ${fraction.replace(/0+$/, '')}`;
}
