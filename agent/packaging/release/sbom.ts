import { createHash } from 'node:crypto';
import { Enums, Models, Serialize, Spec, SPDX } from '@cyclonedx/cyclonedx-library';

/** Something of others that a program holds. */
export interface Part {
  readonly name: string;
  readonly version: string;
  /** Where it comes from, as a package URL (github.com/package-url/purl-spec). */
  readonly purl: string;
  /** An SPDX identifier or expression, where its own word for it is known. */
  readonly licence?: string;
  /** Where its licences are told, where one identifier does not say it. */
  readonly licencePage?: string;
  /** What it holds itself. */
  readonly parts?: readonly Part[];
}

/** A file that is released, with all that is in it. */
export interface Program {
  /** What it is called, and for what: `usr/bin/docker-preloader (amd64)`. */
  readonly name: string;
  readonly content: Buffer;
  readonly parts: readonly Part[];
}

/**
 * A software bill of materials: CycloneDX 1.6 as JSON, of the programs of a release. The same ones give the same bytes.
 * @param version of all of them
 * @param date of the release
 */
export function sbom(programs: readonly Program[], version: string, date: Date): string {
  const parts = new Map<string, Models.Component>();
  const bom = new Models.Bom({
    metadata: new Models.Metadata({
      timestamp: date,
      component: new Models.Component(Enums.ComponentType.Application, 'docker-preloader', {
        bomRef: 'docker-preloader',
        version,
        purl: `pkg:npm/docker-preloader@${version}`,
        licenses: licences('MIT'),
      }),
    }),
  });
  for (const program of programs) {
    const component = new Models.Component(Enums.ComponentType.File, program.name, {
      bomRef: `file:${program.name}`,
      version,
      licenses: licences('MIT'),
      hashes: new Models.HashDictionary([[Enums.HashAlgorithm['SHA-256'], sha256(program.content)]]),
    });
    addParts(component, program.parts, bom, parts);
    bom.components.add(component);
    bom.metadata.component?.dependencies.add(component.bomRef);
  }
  // Its own number tells one from another: as that is no chance here, the content says it.
  bom.serialNumber = `urn:uuid:${uuidOf(JSON.stringify(programs.map(({ name, content, parts: held }) => [name, sha256(content), held])))}`;
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/** Each part stands there once, however many have it. */
function addParts(
  holder: Models.Component,
  held: readonly Part[],
  bom: Models.Bom,
  known: Map<string, Models.Component>,
): void {
  for (const part of held) {
    const component = known.get(part.purl) ?? componentOf(part);
    if (!known.has(part.purl)) {
      known.set(part.purl, component);
      bom.components.add(component);
      addParts(component, part.parts ?? [], bom, known);
    }
    holder.dependencies.add(component.bomRef);
  }
}

function componentOf({ name, version, purl, licence, licencePage }: Part): Models.Component {
  const [, group, own = name] = /^(@[^/]+)\/(.+)$/.exec(name) ?? [];
  return new Models.Component(Enums.ComponentType.Library, own, {
    bomRef: purl,
    version,
    purl,
    ...(group === undefined ? {} : { group }),
    ...(licence === undefined ? {} : { licenses: licences(licence) }),
    ...(licencePage === undefined
      ? {}
      : {
          externalReferences: new Models.ExternalReferenceRepository([
            new Models.ExternalReference(licencePage, Enums.ExternalReferenceType.License),
          ]),
        }),
  });
}

function licences(licence: string): Models.LicenseRepository {
  const id = SPDX.fixupSpdxId(licence);
  return new Models.LicenseRepository([
    id === undefined ? new Models.LicenseExpression(licence) : new Models.SpdxLicense(id),
  ]);
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** A UUID of version 8 (RFC 9562, section 5.8). */
function uuidOf(text: string): string {
  const hex = sha256(text);
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 3) | 8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
