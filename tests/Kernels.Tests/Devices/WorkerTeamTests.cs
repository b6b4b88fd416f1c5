namespace TransferEngine.Kernels.Tests.Devices;

public class WorkerTeamTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 100)]
    [InlineData(2, 3)]
    [InlineData(4, 1000)]
    public void Every_Item_Is_Executed_Once(int degree, int items)
    {
        using var team = new WorkerTeam(degree);
        var work = new Count(new int[items]);
        for (int round = 1; round <= 20; round++)
        {
            team.Run(items, ref work);
            Assert.All(work.Done, done => Assert.Equal(round, done));
        }
    }

    [Fact]
    public void What_The_Calling_Thread_Throws_Comes_Out_After_The_Workers_Are_Done()
    {
        using var team = new WorkerTeam(3);
        for (int round = 0; round < 50; round++)
        {
            // The caller's item throws at once while workers are slow with theirs, which must not outlive the call.
            var state = new Running();
            var work = new FailingOn(state, Environment.CurrentManagedThreadId, OnCaller: true);
            Assert.Throws<NotFiniteNumberException>(() => team.Run(10_000, ref work));
            Assert.Equal(0, Volatile.Read(ref state.Executing));
        }
        AssertStillWorks(team);
    }

    [Fact]
    public void What_A_Worker_Throws_Comes_Out_As_It_Is()
    {
        using var team = new WorkerTeam(3);
        var state = new Running();
        var work = new FailingOn(state, Environment.CurrentManagedThreadId, OnCaller: false);
        Assert.Throws<NotFiniteNumberException>(() => team.Run(10_000, ref work));
        Assert.Equal(0, Volatile.Read(ref state.Executing));
        AssertStillWorks(team);
    }

    [Fact]
    public void A_Launch_Inside_An_Item_Is_Done_By_Its_Own_Thread()
    {
        using var team = new WorkerTeam(3);
        var work = new Nested(team, new int[40 * 10]);
        team.Run(40, ref work);
        Assert.All(work.Done, done => Assert.Equal(1, done));
    }

    [Fact]
    public void Several_Threads_May_Launch_At_Once()
    {
        using var team = new WorkerTeam(2);
        Parallel.For(0, 200, _ => AssertStillWorks(team));
    }

    [Fact]
    public void Launches_That_Some_Workers_Miss_Are_Done_Whole()
    {
        // Far more threads than cores and launches of a moment: most workers come too late for most of them, and none may touch one that is over.
        using var team = new WorkerTeam(4 * Environment.ProcessorCount);
        var work = new Count(new int[64]);
        for (int round = 1; round <= 2_000; round++)
        {
            team.Run(64, ref work);
            Assert.All(work.Done, done => Assert.Equal(round, done));
        }
    }

    private static void AssertStillWorks(WorkerTeam team)
    {
        var work = new Count(new int[100]);
        team.Run(100, ref work);
        Assert.All(work.Done, done => Assert.Equal(1, done));
    }

    private readonly record struct Count(int[] Done) : IWork
    {
        public void Execute(int item) => Interlocked.Increment(ref Done[item]);
    }

    private readonly record struct Nested(WorkerTeam Team, int[] Done) : IWork
    {
        public void Execute(int item)
        {
            var inner = new Part(item, Done);
            Team.Run(10, ref inner);
        }
    }

    private readonly record struct Part(int Outer, int[] Done) : IWork
    {
        public void Execute(int item) => Interlocked.Increment(ref Done[Outer * 10 + item]);
    }

    private sealed class Running
    {
        public int Executing;
    }

    private readonly record struct FailingOn(Running State, int Caller, bool OnCaller) : IWork
    {
        public void Execute(int item)
        {
            if (Environment.CurrentManagedThreadId == Caller == OnCaller)
                throw new NotFiniteNumberException();
            Interlocked.Increment(ref State.Executing);
            Thread.SpinWait(20_000);
            Interlocked.Decrement(ref State.Executing);
        }
    }
}
