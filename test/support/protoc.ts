import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cached } from './cache.ts';
import { fetchDebianPackage } from './debian-packages.ts';

/** An API whose .proto files Debian has. */
interface Api {
  /** Folders that its files are in, and what they import; the services' first. */
  readonly folders: () => Promise<readonly [string, ...string[]]>;
  /** The folder of a service's file. */
  readonly folderOf: (area: string, version: string) => string;
  /** Before `area.version` in the names of its messages. */
  readonly prefix: string;
}

/** Where Debian's packages have the sources of Go. */
const GO = 'usr/share/gocode/src';
const CRI = 'k8s.io/cri-api/pkg/apis/runtime/v1';

const apis = {
  containerd: {
    folders: async () => {
      const own = await fetchDebianPackage('forky', ['golang-github-containerd-containerd-api-dev']);
      const more = await cached('protoc-google-rpc-1', async (folder) => {
        // Of the package of all of Google's APIs, containerd's use this one message.
        await mkdir(path.join(folder, 'google/rpc'), { recursive: true });
        await writeFile(
          path.join(folder, 'google/rpc/status.proto'),
          'syntax = "proto3";\npackage google.rpc;\nimport "google/protobuf/any.proto";\n' +
            'message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }\n',
        );
      });
      return [path.join(own, GO), more];
    },
    folderOf: (area, version) => `github.com/containerd/containerd/api/services/${area}/${version}`,
    prefix: 'containerd.services.',
  },
  cri: {
    folders: async () => {
      const own = await fetchDebianPackage('forky', ['golang-k8s-cri-api-dev']);
      const readable = await cached('protoc-cri-1', async (folder) => {
        await mkdir(path.join(folder, CRI), { recursive: true });
        const text = readFileSync(path.join(own, GO, CRI, 'api.proto'), 'utf8');
        // The compiler is older than this mark of what is kept out of logs.
        await writeFile(path.join(folder, CRI, 'api.proto'), text.replaceAll(' [debug_redact = true]', ''));
      });
      return [readable];
    },
    folderOf: (area, version) => `k8s.io/cri-api/pkg/apis/${area}/${version}`,
    prefix: '',
  },
} as const satisfies Readonly<Record<string, Api>>;

/** Protobuf's own compiler, with the .proto files of an API: it encodes and decodes messages in its text format. */
export class Protoc {
  readonly #api: Api;
  readonly #compiler: string;
  readonly #include: readonly string[];
  readonly #files: string;

  private constructor(api: Api, compiler: string, files: string, include: readonly string[]) {
    this.#api = api;
    this.#compiler = compiler;
    this.#files = files;
    this.#include = include;
  }

  static async make(name: keyof typeof apis): Promise<Protoc> {
    const api = apis[name];
    const compiler = await fetchDebianPackage('bookworm', [
      'protobuf-compiler',
      'libprotoc32',
      'libprotobuf32',
      'libprotobuf-dev',
    ]);
    const folders = await api.folders();
    return new Protoc(api, compiler, folders[0], [path.join(compiler, 'usr/include'), ...folders]);
  }

  /** The types that a method takes and gives, by what its service's file says. @param method `images.v1.Images/List` */
  typesOf(method: string): { readonly request: string; readonly response: string } {
    const [, area = '', version = '', name = ''] = /^(\w+)\.(\w+)\.\w+\/(\w+)$/.exec(method) ?? [];
    const text = readFileSync(path.join(this.#files, this.#fileOf(area, version)), 'utf8');
    const found = new RegExp(`rpc ${name}\\((?:stream )?([\\w.]+)\\) returns \\((?:stream )?([\\w.]+)\\)`).exec(text);
    const [, request, response] = found ?? [];
    if (request === undefined || response === undefined)
      throw new Error(`${method}: expected in its .proto, found none`);
    const whole = (type: string): string =>
      type.includes('.') ? type : `${this.#api.prefix}${area}.${version}.${type}`;
    return { request: whole(request), response: whole(response) };
  }

  /** Encodes a message of text format. @param method whose service's file is read */
  async encode(method: string, type: string, text: string): Promise<Buffer> {
    const { stdout } = await this.#run(method, `--encode=${type}`, Buffer.from(text));
    return Buffer.from(stdout);
  }

  /** Decodes a message to text format; what it does not know shows as a number. */
  async decode(method: string, type: string, encoded: Buffer): Promise<string> {
    const { stdout } = await this.#run(method, `--decode=${type}`, encoded);
    return Buffer.from(stdout).toString('utf8');
  }

  #run(method: string, what: string, input: Buffer): Promise<{ readonly stdout: Uint8Array }> {
    const [, area = '', version = ''] = /^(\w+)\.(\w+)\./.exec(method) ?? [];
    return execa(
      path.join(this.#compiler, 'usr/bin/protoc'),
      [
        what,
        ...this.#include.map((folder) => `-I${folder}`),
        this.#fileOf(area, version),
        'google/protobuf/empty.proto',
      ],
      {
        input,
        encoding: 'buffer',
        env: { LD_LIBRARY_PATH: path.join(this.#compiler, 'usr/lib/x86_64-linux-gnu') },
      },
    );
  }

  #fileOf(area: string, version: string): string {
    const folder = this.#api.folderOf(area, version);
    const file = readdirSync(path.join(this.#files, folder)).find((name) => name.endsWith('.proto'));
    if (file === undefined) throw new Error(`${folder}: expected a .proto file, found none`);
    return `${folder}/${file}`;
  }
}
