import { Metadata } from '@grpc/grpc-js';
import { Controller, Inject } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import { assertionAlgorithms } from '../clients/assertion.js';
import { Clients } from '../clients/clients.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { sendHeaders, type TokenCall } from '../tokens/refresh-cookie.js';
import { Grants, grantsOf, missing } from './grants.js';
import { ShownTokens } from './shown-tokens.js';

const authMethods = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'];

/** The OAuth endpoints, over the same sessions as the JSON methods. */
@Controller()
@userV1.OAuthServiceControllerMethods()
export class OAuthController implements userV1.OAuthServiceController {
  constructor(
    private readonly clients: Clients,
    private readonly grants: Grants,
    private readonly tokens: ShownTokens,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  async token(request: userV1.TokenRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.TokenResponse> {
    const client = await this.clients.authenticate(currentCall(), request, metadata, grpc);
    const tokens = await this.grants.grant(currentCall(), client, request);
    sendHeaders(grpc);
    return tokens;
  }

  async revoke(request: userV1.RevokeRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.RevokeResponse> {
    const client = await this.clients.authenticate(currentCall(), request, metadata, grpc);
    if (request.token === '') throw missing('token');
    await this.tokens.revoke(currentCall(), client, request.token);
    return {};
  }

  async introspect(request: userV1.IntrospectRequest): Promise<userV1.IntrospectResponse> {
    if (request.token === '') throw missing('token');
    return this.tokens.introspect(currentCall(), currentCaller(), request.token);
  }

  getMetadata(): userV1.Metadata {
    const issuer = this.settings.TOKEN_ISSUER;
    const at = (path: string) => `${issuer.replace(/\/$/, '')}${path}`;
    return {
      issuer,
      token_endpoint: at('/oauth/token'),
      revocation_endpoint: at('/oauth/revoke'),
      introspection_endpoint: at('/oauth/introspect'),
      jwks_uri: at('/.well-known/jwks.json'),
      grant_types_supported: grantsOf(this.settings),
      response_types_supported: [],
      token_endpoint_auth_methods_supported: authMethods,
      token_endpoint_auth_signing_alg_values_supported: Object.keys(assertionAlgorithms),
      revocation_endpoint_auth_methods_supported: authMethods,
      revocation_endpoint_auth_signing_alg_values_supported: Object.keys(assertionAlgorithms),
      introspection_endpoint_auth_methods_supported: ['Bearer'],
    };
  }
}
