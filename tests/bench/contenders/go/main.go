// A contender of the bench: the one template in Go, exactly once, as franz-go and hamba/avro do it best.
//
// Its settings are the environment variables BENCH_…; it runs until SIGTERM and prints nothing but errors.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// environment collects the names of variables that are missing or no numbers.
type environment struct{ missing *[]string }

func (e environment) text(name string) string {
	value := os.Getenv(name)
	if value == "" {
		*e.missing = append(*e.missing, name)
	}
	return value
}

func (e environment) number(name string) int {
	number, err := strconv.Atoi(e.text(name))
	if err != nil {
		*e.missing = append(*e.missing, name)
	}
	return number
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	environment := environment{&[]string{}}
	mapper, err := newMapper(environment)
	if err != nil {
		return err
	}
	batch := environment.number("BENCH_BATCH")
	session, err := newSession(environment, batch)
	if err != nil {
		return err
	}
	defer session.Close()
	if len(*environment.missing) > 0 {
		return fmt.Errorf("environment variables missing: %v", *environment.missing)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for {
		fetches := session.PollRecords(ctx, batch)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		if err := publish(session, mapper, fetches); err != nil {
			return err
		}
	}
}

func newSession(environment environment, batch int) (*kgo.GroupTransactSession, error) {
	group := environment.text("BENCH_GROUP")
	return kgo.NewGroupTransactSession(
		kgo.SeedBrokers(environment.text("BENCH_BOOTSTRAP")),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelError, nil)),
		kgo.TransactionalID(group),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(environment.text("BENCH_EVENTS")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.FetchMaxWait(time.Duration(environment.number("BENCH_FETCH_WAIT_MS"))*time.Millisecond),
		kgo.FetchMaxPartitionBytes(8<<20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(4*batch),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(5*time.Millisecond),
	)
}

// publish writes the outputs of what was polled, and its positions, in one transaction.
func publish(session *kgo.GroupTransactSession, mapper *mapper, fetches kgo.Fetches) error {
	if fetches.NumRecords() == 0 {
		return nil
	}
	if err := session.Begin(); err != nil {
		return err
	}
	ctx := context.Background()
	produced := kgo.AbortingFirstErrPromise(session.Client())
	var failed error
	for records := fetches.RecordIter(); !records.Done() && failed == nil; {
		source := records.Next()
		outputs, err := mapper.outputs(source)
		if err != nil {
			failed = fmt.Errorf("partition %d, offset %d: %w", source.Partition, source.Offset, err)
		}
		for _, output := range outputs {
			session.Produce(ctx, output, produced.Promise())
		}
	}
	flushed := session.Client().Flush(ctx)
	failed = errors.Join(failed, flushed, produced.Err())
	// Not committed and no error: the group was rebalanced, and goes on from its positions.
	_, err := session.End(ctx, failed == nil)
	return errors.Join(failed, err)
}
