import { Metadata } from '@grpc/grpc-js';
import { Controller, Inject } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import { SETTINGS, type UserSettings } from '../settings.js';
import { sendHeaders, type TokenCall } from '../tokens/refresh-cookie.js';
import { checkClient } from './clients.js';
import { Grants, GRANTS, missing } from './grants.js';
import { ShownTokens } from './shown-tokens.js';

/** The OAuth endpoints, over the same sessions as the JSON methods. */
@Controller()
@userV1.OAuthServiceControllerMethods()
export class OAuthController implements userV1.OAuthServiceController {
  constructor(
    private readonly grants: Grants,
    private readonly tokens: ShownTokens,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  async token(request: userV1.TokenRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.TokenResponse> {
    checkClient(request, metadata, grpc);
    const tokens = await this.grants.grant(currentCall(), request);
    sendHeaders(grpc);
    return tokens;
  }

  async revoke(request: userV1.RevokeRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.RevokeResponse> {
    checkClient(request, metadata, grpc);
    if (request.token === '') throw missing('token');
    await this.tokens.revoke(currentCall(), request.token);
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
      grant_types_supported: [...GRANTS],
      response_types_supported: [],
      token_endpoint_auth_methods_supported: ['none'],
      revocation_endpoint_auth_methods_supported: ['none'],
      introspection_endpoint_auth_methods_supported: ['Bearer'],
    };
  }
}
