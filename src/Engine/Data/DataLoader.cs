using System.Collections;
using System.Threading.Channels;
using TransferEngine.Data.Transforms;
using TransferEngine.Kernels;

namespace TransferEngine.Data;

/// <summary>How a <see cref="DataLoader"/> goes through a data set.</summary>
public sealed record DataLoaderSettings
{
    /// <summary>Rows of a batch.</summary>
    public int BatchSize { get; init; } = 32;

    /// <summary>Whether each pass takes the rows in a new order, which depends on <see cref="Seed"/> and the number of the pass alone.</summary>
    public bool Shuffle { get; init; }

    /// <summary>What the orders are drawn from.</summary>
    public ulong Seed { get; init; }

    /// <summary>Whether a last batch of fewer rows is left out.</summary>
    public bool DropLast { get; init; }

    /// <summary>
    /// Batches that a background thread reads ahead, and copies to the device beside its other work (<see cref="Device.AllowAsynchronousCopies"/>); 0 reads each when it is asked for.
    /// </summary>
    public int Prefetch { get; init; }

    /// <summary>What becomes of each row's input, if anything; what it draws depends on <see cref="Seed"/>, the number of the pass and the row alone.</summary>
    public ITransform? Transform { get; init; }

    /// <summary>What becomes of each whole batch after that, if anything, such as <see cref="MixUp"/>; <see cref="Views"/> stay as they are.</summary>
    public IBatchTransform? BatchTransform { get; init; }

    /// <summary>
    /// Further transforms, each of which makes another view of the same rows, <see cref="Batch.Views"/>, with random numbers of its own: a strong
    /// augmentation beside a weak one.
    /// </summary>
    public IReadOnlyList<ITransform> Views { get; init; } = [];

    /// <summary>The most threads that transform rows, and decode images of their own sizes; 0 is a thread a core. What is loaded does not depend on it.</summary>
    public int Workers { get; init; }

    /// <summary>Ends a pass where it stands, with an <see cref="OperationCanceledException"/>.</summary>
    public CancellationToken Cancellation { get; init; }
}

/// <summary>A loader whose next pass can be chosen: what a checkpoint keeps of it.</summary>
internal interface IPassed
{
    /// <summary>Batches of a pass.</summary>
    int Count { get; }

    /// <summary>The numbers of the next passes, one a loader in it.</summary>
    int[] Passes { get; set; }
}

/// <summary>
/// Batches of a data set. Each enumeration is a pass and has the next number; the order of a pass depends on the seed and its number, so that setting
/// <see cref="Epoch"/> resumes a training where it stood. Whoever enumerates disposes the batches.
/// </summary>
public sealed class DataLoader : IEnumerable<Batch>, IPassed
{
    private readonly IDataset data;
    private readonly Device device;

    /// <param name="data">What to read.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="device">Where the batches go; the CPU if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The batch size is not positive or the prefetch or the number of workers negative.</exception>
    public DataLoader(IDataset data, DataLoaderSettings? settings = null, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(data);
        Settings = settings ?? new();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Settings.BatchSize);
        ArgumentOutOfRangeException.ThrowIfNegative(Settings.Prefetch);
        ArgumentOutOfRangeException.ThrowIfNegative(Settings.Workers);
        (this.data, this.device) = (data, device ?? Device.Cpu);
    }

    /// <summary>How the data is gone through.</summary>
    public DataLoaderSettings Settings { get; }

    /// <summary>The number of the next pass.</summary>
    public int Epoch { get; set; }

    /// <summary>Batches of a pass.</summary>
    public int Count => data.Count / Settings.BatchSize + (Settings.DropLast || data.Count % Settings.BatchSize == 0 ? 0 : 1);

    int[] IPassed.Passes { get => [Epoch]; set => Epoch = value[0]; }

    /// <summary>Begins the next pass.</summary>
    public IEnumerator<Batch> GetEnumerator()
    {
        int epoch = Epoch++;
        var order = Order(epoch);
        return Settings.Prefetch == 0 ? Direct(order, epoch) : Prefetched(order, epoch);
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A loader of all rows of the same data in their order, transformed one by one as here, not mixed with each other, without further views: what is measured on the whole of a domain.</summary>
    public DataLoader InOrder() => new(data, Settings with { Shuffle = false, DropLast = false, BatchTransform = null, Views = [] }, device);

    /// <summary>The rows of a pass in their order.</summary>
    internal int[] Order(int epoch) => Settings.Shuffle
        ? new Generator(unchecked(Settings.Seed * 0x9E3779B97F4A7C15UL + (ulong)epoch + 1)).Permutation(data.Count)
        : [.. Enumerable.Range(0, data.Count)];

    private Batch Read(int[] order, int epoch, int batch, CancellationToken ended)
    {
        ended.ThrowIfCancellationRequested();
        int start = batch * Settings.BatchSize;
        var numbers = order.AsMemory(start, Math.Min(Settings.BatchSize, order.Length - start));
        ReadOnlySpan<int> rows = numbers.Span;
        var threads = Settings.Transform is null && Settings.Views.Count == 0
            ? null
            : new ParallelOptions { CancellationToken = ended, MaxDegreeOfParallelism = Settings.Workers == 0 ? Environment.ProcessorCount : Settings.Workers };
        var read = Settings.Transform is { } transform ? Transformed.Read(data, rows, device, transform, Settings.Seed, epoch, threads!) : data.Read(rows, device);
        if (Settings.BatchTransform is { } whole)
        {
            using var plain = read;
            read = whole.Apply(plain, Transformed.Random(~Settings.Seed, epoch, batch));
        }
        read.Rows = numbers;
        if (Settings.Views.Count == 0)
            return read;
        var views = new List<Tensor>();
        try
        {
            foreach (var view in Settings.Views)
            {
                var seen = Transformed.Read(data, rows, device, view, Settings.Seed + (ulong)views.Count + 1, epoch, threads!);
                seen.Target.Dispose();
                views.Add(seen.Input);
            }
            return read with { Views = views };
        }
        catch
        {
            (read with { Views = views }).Dispose();
            throw;
        }
    }

    private IEnumerator<Batch> Direct(int[] order, int epoch)
    {
        for (int batch = 0; batch < Count; batch++)
            yield return Read(order, epoch, batch, Settings.Cancellation);
    }

    private IEnumerator<Batch> Prefetched(int[] order, int epoch)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(Settings.Cancellation);
        var channel = Channel.CreateBounded<(Batch Batch, Shipment? Shipment)>(Settings.Prefetch);
        var reader = Task.Run(() => Fill(order, epoch, channel.Writer, ended.Token));
        try
        {
            // An error of the reader surfaces here, after the batches before it.
            while (channel.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
            {
                while (channel.Reader.TryRead(out var read))
                {
                    read.Shipment?.Arrive();
                    yield return read.Batch;
                }
            }
        }
        finally
        {
            ended.Cancel();
            reader.Wait();
            while (channel.Reader.TryRead(out var unread))
                unread.Batch.Dispose();
        }
    }

    /// <summary>Reads a batch whose copies to the device may be under way yet.</summary>
    private (Batch, Shipment?) ReadAhead(int[] order, int epoch, int batch, CancellationToken ended)
    {
        var shipment = device.Compute.BeginShipment();
        try
        {
            var read = Read(order, epoch, batch, ended);
            shipment?.End();
            return (read, shipment);
        }
        catch
        {
            shipment?.Dispose();
            throw;
        }
    }

    private async Task Fill(int[] order, int epoch, ChannelWriter<(Batch, Shipment?)> writer, CancellationToken ended)
    {
        try
        {
            for (int batch = 0; batch < Count; batch++)
            {
                var (read, shipment) = ReadAhead(order, epoch, batch, ended);
                try
                {
                    await writer.WriteAsync((read, shipment), ended).ConfigureAwait(false);
                }
                catch (OperationCanceledException)
                {
                    read.Dispose();
                    throw;
                }
            }
            writer.Complete();
        }
        catch (Exception e)
        {
            writer.Complete(e);
        }
    }
}
