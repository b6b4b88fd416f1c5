using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace TransferEngine.Kernels;

/// <summary>
/// The CPU's threads. <see cref="Run"/> gives the caller and each worker a stretch of a kernel's items, the same ones for every launch of as many: what
/// one launch leaves in a core's cache, the next finds there. Who is done with its own stretch takes items from the others'.
/// A worker without work spins for a moment, as the next launch mostly comes at once, and then sleeps. A launch ends when its items are
/// done, and waits only for workers that have joined it: one whom the system leaves without a core misses it, and nobody stands still for that.
/// A launch allocates nothing: workers get a pointer to the caller's kernel, which stays where it is until the last that joined has left.
/// </summary>
internal sealed unsafe class WorkerTeam : IDisposable
{
    private const int SpinsBeforeSleep = 2_000;

    /// <summary>Bits beside the number of workers in <see cref="joined"/>: the launch may not be joined any more; the caller sleeps until the last of them leaves.</summary>
    private const int Closed = int.MinValue, Awaited = 1 << 30;

    private readonly Lock gate = new();
    private readonly SemaphoreSlim lastLeft = new(0);
    private Worker[] workers = [];
    private int generation;
    private Stretch[] stretches = new Stretch[1];
    private int joined = Closed;
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

    /// <summary>
    /// Executes items 0 to <paramref name="count"/> - 1 of <paramref name="body"/>, in no order; returns when all are done. Where an item throws,
    /// on whichever thread, items not begun are left out and the exception comes out of here once no worker looks at the body any more.
    /// </summary>
    public void Run<TBody>(int count, ref TBody body) where TBody : struct, IWork
    {
        if (count == 1 || workers.Length == 0 || gate.IsHeldByCurrentThread || !gate.TryEnter())
        {
            // Another thread has the team, or an item of this one's launch: it does its own work rather than wait.
            for (int i = 0; i < count; i++)
                body.Execute(i);
            return;
        }
        try
        {
            kernel = Unsafe.AsPointer(ref body);
            execute = &Invoke<TBody>;
            for (int i = 0; i < stretches.Length; i++)
            {
                stretches[i].End = (int)((long)count * (i + 1) / stretches.Length);
                Volatile.Write(ref stretches[i].Next, (int)((long)count * i / stretches.Length));
            }
            failure = null;
            Volatile.Write(ref joined, 0);
            Interlocked.Increment(ref generation);
            foreach (var worker in workers)
                worker.Wake();
            Take(0);
            Interlocked.Or(ref joined, Closed);
            AwaitWorkers();
            if (failure is not null)
                ExceptionDispatchInfo.Throw(failure);
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
    }

    private static void Invoke<TBody>(void* body, int item) where TBody : struct, IWork => Unsafe.AsRef<TBody>(body).Execute(item);

    private void Take(int own)
    {
        try
        {
            for (int s = 0; s < stretches.Length; s++)
            {
                ref var stretch = ref stretches[(own + s) % stretches.Length];
                for (int i = Interlocked.Increment(ref stretch.Next) - 1; i < stretch.End; i = Interlocked.Increment(ref stretch.Next) - 1)
                    execute(kernel, i);
            }
        }
        catch (Exception e)
        {
            // The caller, too, must stay until the last worker is done: the body is on its stack.
            Volatile.Write(ref failure, e);
            foreach (ref var stretch in stretches.AsSpan())
                Volatile.Write(ref stretch.Next, stretch.End);
        }
    }

    /// <summary>Returns once no worker is in the closed launch. A long wait is for one whom the system has taken its core: asleep, the caller leaves it its own.</summary>
    private void AwaitWorkers()
    {
        for (int spins = 0; spins < SpinsBeforeSleep; spins++)
        {
            if (Volatile.Read(ref joined) == Closed)
                return;
            Thread.SpinWait(8);
        }
        if (Interlocked.Or(ref joined, Awaited) != Closed)
            lastLeft.Wait();
        Volatile.Write(ref joined, Closed);
    }

    private void Start(int count)
    {
        stopping = false;
        int seen = generation;
        workers = new Worker[count];
        stretches = new Stretch[count + 1];
        for (int i = 0; i < count; i++)
        {
            var worker = workers[i] = new Worker();
            int own = i + 1;
            worker.Thread = new Thread(() => Work(worker, own, seen)) { IsBackground = true, Name = $"TransferEngine worker {i + 1}" };
            worker.Thread.Start();
        }
    }

    private void Stop()
    {
        Volatile.Write(ref stopping, true);
        Interlocked.Increment(ref generation);
        foreach (var worker in workers)
            worker.Wake();
        foreach (var worker in workers)
            worker.Thread!.Join();
        workers = [];
    }

    private void Work(Worker self, int own, int seen)
    {
        while (true)
        {
            for (int spins = 0; Volatile.Read(ref generation) == seen && spins < SpinsBeforeSleep; spins++)
                Thread.SpinWait(8);
            while (Volatile.Read(ref generation) == seen)
            {
                self.LieDown();
                // A launch between the test above and lying down has missed this sleeper: look once more before sleeping.
                if (Volatile.Read(ref generation) == seen || !self.TryStayUp())
                    self.Sleep();
            }
            seen = Volatile.Read(ref generation);
            if (Volatile.Read(ref stopping))
                return;
            if (!TryJoin())
                continue;
            Take(own);
            if (Interlocked.Decrement(ref joined) == (Closed | Awaited))
                lastLeft.Release();
        }
    }

    private bool TryJoin()
    {
        while (Volatile.Read(ref joined) is var now && now >= 0)
        {
            if (Interlocked.CompareExchange(ref joined, now + 1, now) == now)
                return true;
        }
        return false;
    }

    /// <summary>The items of one thread, on a cache line of its own.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Stretch
    {
        [FieldOffset(0)]
        public int Next;

        [FieldOffset(4)]
        public int End;
    }

    /// <summary>
    /// A thread and what wakes it. Each has a signal of its own: of a common one, a worker that is done early could take the signal that was
    /// meant for another, which would then sleep through the launch.
    /// </summary>
    private sealed class Worker
    {
        private readonly SemaphoreSlim signal = new(0);
        private int lying;

        public Thread? Thread { get; set; }

        /// <summary>Says that this worker is about to sleep; from here on <see cref="Wake"/> signals it.</summary>
        public void LieDown() => Interlocked.Exchange(ref lying, 1);

        /// <summary>Withdraws that, unless the signal is given already and must be taken.</summary>
        public bool TryStayUp() => Interlocked.Exchange(ref lying, 0) == 1;

        public void Sleep() => signal.Wait();

        public void Wake()
        {
            if (Volatile.Read(ref lying) == 1 && Interlocked.Exchange(ref lying, 0) == 1)
                signal.Release();
        }
    }
}

/// <summary>Work of numbered items that do not depend on each other.</summary>
internal interface IWork
{
    void Execute(int item);
}
