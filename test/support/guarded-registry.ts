import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { startRegistry, type Registry } from './registry.ts';

export interface RegistryUser {
  readonly name: string;
  readonly password: string;
}

/** Who may use a guarded registry. */
const registryUser: RegistryUser = { name: 'fleet', password: 'fleet-password' };

/**
 * A registry that has TLS, with a certificate that nobody vouches for, which is in `certificate.pem` of its folder.
 * @param options.name of its host, where it has one
 */
export async function startGuardedRegistry(
  folder: string,
  user = registryUser,
  { name, listen }: { readonly name?: string; readonly listen?: string } = {},
): Promise<Registry> {
  const at = (file: string): string => path.join(folder, file);
  mkdirSync(folder, { recursive: true });
  writeFileSync(at('htpasswd'), await htpasswd(user));
  const subject = [
    '-subj',
    '/CN=registry',
    '-addext',
    `subjectAltName=${name === undefined ? 'IP:127.0.0.1' : `DNS:${name}`}`,
  ];
  const files = ['-keyout', at('key.pem'), '-out', at('certificate.pem')];
  await execa('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files]);
  const tls = { certificate: at('certificate.pem'), key: at('key.pem') };
  return startRegistry(folder, { tls, htpasswd: at('htpasswd'), ...(listen === undefined ? {} : { listen }) });
}

/** As htpasswd(1) writes it, with bcrypt of libc. Nobody sees the password among the arguments of a process. */
export async function htpasswd({ name, password }: RegistryUser): Promise<string> {
  const script = 'print crypt(<STDIN>, q($2b$05$abcdefghijklmnopqrstuu))';
  return `${name}:${(await execa('perl', ['-e', script], { input: password })).stdout}\n`;
}

/** What a client sends of a user. */
export function basicAuth({ name, password }: RegistryUser): string {
  return Buffer.from(`${name}:${password}`).toString('base64');
}

/** The file that `skopeo login` writes for a guarded registry. */
export function authFileFor({ address }: Pick<Registry, 'address'>, user = registryUser): string {
  return JSON.stringify({ auths: { [address]: { auth: basicAuth(user) } } });
}
