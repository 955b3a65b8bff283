/** A service that uses what Nest offers, for both servers. */
import {
  type CanActivate,
  Catch,
  Controller,
  type ExecutionContext,
  Injectable,
  Module,
  type PipeTransform,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  type CallHandler,
  type NestInterceptor,
  type RpcExceptionFilter,
} from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall, GrpcStreamMethod, RpcException } from '@nestjs/microservices';
import { Metadata, type ServerDuplexStream, type ServerUnaryCall } from '@grpc/grpc-js';
import { interval, map, Observable, range, concat, throwError, toArray, finalize } from 'rxjs';

export interface Text {
  text: string;
  count: number;
}

/** Counts what tests wait for. */
export const seen = { cancelled: 0, finalized: 0, intercepted: 0 };

@Injectable()
class OnlyFriends implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const metadata = context.switchToRpc().getContext<Metadata>();
    return metadata.get('x-friend')[0] === 'yes';
  }
}

@Injectable()
class UpperCase implements PipeTransform {
  transform(value: Text): Text {
    return typeof value?.text === 'string' ? { ...value, text: value.text.toUpperCase() } : value;
  }
}

@Injectable()
class Counting implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    seen.intercepted++;
    return next.handle();
  }
}

@Catch(TypeError)
class TypeErrors implements RpcExceptionFilter {
  catch(error: TypeError): Observable<never> {
    return throwError(() => ({ code: 3, details: `filtered: ${error.message}` }));
  }
}

@Controller()
@UseInterceptors(Counting)
export class ConformanceController {
  @GrpcMethod('Conformance', 'Echo')
  echo(request: Text, metadata: Metadata, call: ServerUnaryCall<Text, Text>): Text {
    const answer = new Metadata();
    for (const value of metadata.get('x-in')) answer.add('x-out', value);
    for (const value of metadata.get('x-in-bin')) answer.add('x-out-bin', value);
    call.sendMetadata(answer);
    return request;
  }

  @GrpcMethod('Conformance', 'Fail')
  fail(request: Text): Text {
    const metadata = new Metadata();
    metadata.set('x-trailer', 'why');
    metadata.set('grpc-status-details-bin', Buffer.from([1, 2, 255]));
    throw new RpcException({ code: request.count, details: request.text, message: request.text, metadata });
  }

  @GrpcMethod('Conformance', 'Throw')
  @UseFilters(TypeErrors)
  throw(): Text {
    throw new TypeError('wrong');
  }

  @GrpcMethod('Conformance', 'Guarded')
  @UseGuards(OnlyFriends)
  guarded(request: Text): Text {
    return request;
  }

  @GrpcMethod('Conformance', 'Piped')
  @UsePipes(UpperCase)
  piped(request: Text): Text {
    return request;
  }

  @GrpcMethod('Conformance', 'Deadline')
  deadline(_request: Text, _metadata: Metadata, call: ServerUnaryCall<Text, Text>): Text {
    const deadline = call.getDeadline();
    return { text: call.getPath(), count: deadline === Infinity ? -1 : Number(deadline) - Date.now() };
  }

  @GrpcMethod('Conformance', 'Stall')
  stall(_request: Text, _metadata: Metadata, call: ServerUnaryCall<Text, Text>): Promise<Text> {
    return new Promise(() => call.on('cancelled', () => seen.cancelled++));
  }

  @GrpcMethod('Conformance', 'Repeat')
  repeat(request: Text): Observable<Text> {
    return range(0, request.count).pipe(map((count) => ({ text: request.text, count })));
  }

  @GrpcMethod('Conformance', 'RepeatThenFail')
  repeatThenFail(request: Text): Observable<Text> {
    return concat(
      this.repeat(request),
      throwError(() => new RpcException({ code: 9, message: 'enough', details: 'enough' })),
    );
  }

  @GrpcMethod('Conformance', 'RepeatForever')
  repeatForever(request: Text): Observable<Text> {
    return interval(1).pipe(
      map((count) => ({ text: request.text, count })),
      finalize(() => seen.finalized++),
    );
  }

  @GrpcStreamMethod('Conformance', 'Join')
  join(requests: Observable<Text>): Observable<Text> {
    return requests.pipe(
      toArray(),
      map((all) => ({ text: all.map(({ text }) => text).join(''), count: all.length })),
    );
  }

  @GrpcStreamMethod('Conformance', 'Chat')
  chat(requests: Observable<Text>): Observable<Text> {
    return requests.pipe(map(({ text, count }) => ({ text: `re: ${text}`, count })));
  }

  @GrpcStreamCall('Conformance', 'Raw')
  raw(call: ServerDuplexStream<Text, Text>): void {
    call.on('data', (message: Text) => call.write(message));
    call.on('end', () => call.end());
  }
}

@Module({ controllers: [ConformanceController] })
export class ConformanceModule {}
