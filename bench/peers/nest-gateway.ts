/** What one would write by hand: a NestJS controller per method over a grpc-js client. Prints its port. */
import 'reflect-metadata';
import { Body, Controller, HttpCode, Inject, Module, Param, Post, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientsModule, Transport, type ClientGrpc } from '@nestjs/microservices';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { firstValueFrom, type Observable } from 'rxjs';

const [protoFolder = '', googleFolder = '', upstream = ''] = process.argv.slice(2);

interface EchoMessage {
  name: string;
  text: string;
  number: string;
}

interface EchoService {
  echo(message: EchoMessage): Observable<EchoMessage>;
}

@Controller()
class EchoController implements OnModuleInit {
  private service!: EchoService;

  constructor(@Inject('echo') private readonly client: object) {}

  onModuleInit() {
    this.service = (this.client as ClientGrpc).getService<EchoService>('EchoService');
  }

  @Post('echo/:name')
  @HttpCode(200)
  echo(@Param('name') name: string, @Body() body: Omit<EchoMessage, 'name'>): Promise<EchoMessage> {
    return firstValueFrom(this.service.echo({ ...body, name }));
  }
}

@Module({
  imports: [
    ClientsModule.register([
      {
        name: 'echo',
        transport: Transport.GRPC,
        options: {
          package: 'sluice.bench.v1',
          protoPath: 'echo.proto',
          url: upstream,
          loader: { includeDirs: [protoFolder, googleFolder], keepCase: true, longs: String, defaults: true },
        },
      },
    ]),
  ],
  controllers: [EchoController],
})
class PeerModule {}

const app = await NestFactory.create<NestFastifyApplication>(PeerModule, new FastifyAdapter(), { logger: false });
await app.listen(0, '127.0.0.1');
process.send?.(Number(new URL(await app.getUrl()).port));
