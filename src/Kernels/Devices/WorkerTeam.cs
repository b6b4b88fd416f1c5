using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>
/// The CPU's threads. <see cref="Run"/> lets the caller and the workers take items of a kernel one after the other until none is left.
/// A worker without work spins for a moment, as the next launch mostly comes at once, and then sleeps. A launch allocates nothing: workers
/// get a pointer to the caller's kernel, which stays where it is until the last item is done.
/// </summary>
internal sealed unsafe class WorkerTeam : IDisposable
{
    private const int SpinsBeforeSleep = 2_000;

    private readonly Lock gate = new();
    private readonly SemaphoreSlim wake = new(0);
    private Thread[] workers = [];
    private int generation;
    private int sleeping;
    private int next;
    private int items;
    private int working;
    private void* kernel;
    private delegate*<void*, int, void> execute;
    private Exception? failure;
    private bool stopping;

    public WorkerTeam(int degree) => MaxDegreeOfParallelism = degree;

    /// <summary>The most threads that work at once, the caller's included.</summary>
    public int MaxDegreeOfParallelism
    {
        get => workers.Length + 1;
        set
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, 1);
            lock (gate)
            {
                if (value == workers.Length + 1)
                    return;
                Stop();
                Start(value - 1);
            }
        }
    }

    /// <summary>Executes items 0 to <paramref name="count"/> - 1 of <paramref name="body"/>, in no order; returns when all are done.</summary>
    public void Run<TBody>(int count, ref TBody body) where TBody : struct, IWork
    {
        if (count == 1 || workers.Length == 0 || !gate.TryEnter())
        {
            // Another thread has the team: this one does its own work rather than wait.
            for (int i = 0; i < count; i++)
                body.Execute(i);
            return;
        }
        try
        {
            kernel = Unsafe.AsPointer(ref body);
            execute = &Invoke<TBody>;
            items = count;
            failure = null;
            Volatile.Write(ref working, workers.Length);
            Volatile.Write(ref next, 0);
            Interlocked.Increment(ref generation);
            if (Volatile.Read(ref sleeping) > 0)
                wake.Release(Interlocked.Exchange(ref sleeping, 0));
            Take();
            var spinner = new SpinWait();
            while (Volatile.Read(ref working) > 0)
                spinner.SpinOnce(sleep1Threshold: -1);
            if (failure is not null)
                throw new InvalidOperationException($"A kernel failed on a worker thread: {failure.Message}", failure);
        }
        finally
        {
            gate.Exit();
        }
    }

    public void Dispose()
    {
        lock (gate)
            Stop();
        wake.Dispose();
    }

    private static void Invoke<TBody>(void* body, int item) where TBody : struct, IWork => Unsafe.AsRef<TBody>(body).Execute(item);

    private void Take()
    {
        int count = items;
        for (int i = Interlocked.Increment(ref next) - 1; i < count; i = Interlocked.Increment(ref next) - 1)
            execute(kernel, i);
    }

    private void Start(int count)
    {
        stopping = false;
        int seen = generation;
        workers = new Thread[count];
        for (int i = 0; i < count; i++)
        {
            workers[i] = new Thread(() => Work(seen)) { IsBackground = true, Name = $"TransferEngine worker {i + 1}" };
            workers[i].Start();
        }
    }

    private void Stop()
    {
        Volatile.Write(ref stopping, true);
        Interlocked.Increment(ref generation);
        if (workers.Length > 0)
            wake.Release(workers.Length);
        foreach (var worker in workers)
            worker.Join();
        while (wake.CurrentCount > 0)
            wake.Wait(0);
        sleeping = 0;
        workers = [];
    }

    private void Work(int seen)
    {
        while (true)
        {
            for (int spins = 0; Volatile.Read(ref generation) == seen && spins < SpinsBeforeSleep; spins++)
                Thread.SpinWait(8);
            while (Volatile.Read(ref generation) == seen)
            {
                Interlocked.Increment(ref sleeping);
                // A launch between the test above and the increment may have missed this sleeper: look once more before sleeping.
                if (Volatile.Read(ref generation) != seen && TryStayAwake())
                    break;
                wake.Wait();
            }
            seen = Volatile.Read(ref generation);
            if (Volatile.Read(ref stopping))
                return;
            try
            {
                Take();
            }
            catch (Exception e)
            {
                failure = e;
                Volatile.Write(ref next, items);
            }
            Interlocked.Decrement(ref working);
        }
    }

    /// <summary>Withdraws this thread from the sleepers, unless a launch has already counted it among those to wake.</summary>
    private bool TryStayAwake()
    {
        for (int seen = Volatile.Read(ref sleeping); seen > 0; seen = Volatile.Read(ref sleeping))
        {
            if (Interlocked.CompareExchange(ref sleeping, seen - 1, seen) == seen)
                return true;
        }
        return false;
    }
}

/// <summary>Work of numbered items that do not depend on each other.</summary>
internal interface IWork
{
    void Execute(int item);
}
